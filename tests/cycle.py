"""One application's workspace, taken through restore, build and export as often as a test likes.

Buildpacks are Python functions in a FakeSandbox; the store is a real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from packrunner.catalog.stage import StagedBuildpack
from packrunner.formats.api import PLATFORM_API
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo
from packrunner.formats.group import GroupMember
from packrunner.formats.plan import Plan
from packrunner.formats.platform import RunTarget
from packrunner.images.image import Image
from packrunner.images.layer import File, Tree, write_layer
from packrunner.images.store import LocalStore
from packrunner.lifecycle import cache
from packrunner.lifecycle.analyze import AnalyzeResult, RunImage, analyze
from packrunner.lifecycle.build import BuildInputs, BuildResult, build
from packrunner.lifecycle.export import ExportInputs, ExportResult, export
from packrunner.lifecycle.restore import DAMAGED, RestoreInputs, RestoreResult, foresee, restore
from tests.fakes import FakeReporter, FakeSandbox, Program

if TYPE_CHECKING:
    from pathlib import Path

NAME = "shop"
TARGET = RunTarget("linux", "amd64", "", "debian", "13")


@dataclass
class World:
    """`root` holds layers/, plans/, platform/, app/, store/ and cache.json."""

    root: Path
    members: list[GroupMember] = field(default_factory=list)
    staged: dict[tuple[str, str], StagedBuildpack] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    reporter: FakeReporter = field(default_factory=FakeReporter)
    plan: Plan = field(default_factory=Plan)
    sandbox: FakeSandbox = field(default_factory=lambda: FakeSandbox(programs={}))
    restored: RestoreResult = field(default_factory=RestoreResult)
    built: BuildResult | None = None
    platform_api: str = PLATFORM_API

    def __post_init__(self) -> None:
        for name in ("layers", "plans", "platform", "app"):
            (self.root / name).mkdir(exist_ok=True)
        self.sandbox.mounts = {
            "/layers": str(self.root / "layers"),
            "/cnb/plans": str(self.root / "plans"),
            "/platform": str(self.root / "platform"),
            "/workspace": str(self.root / "app"),
        }

    def add(
        self, name: str, program: Program, *, api: str = "0.12", version: str = "1.2.3", **info: Any
    ) -> GroupMember:
        """Add a buildpack acme/NAME to the group, or replace it; `info` goes into its [buildpack] table."""
        member = GroupMember(id=f"acme/{name}", version=version, api=api)
        descriptor = BuildpackDescriptor(api=api, buildpack=BuildpackInfo(id=member.id, version=version, **info))
        self.members = [*(m for m in self.members if m.id != member.id), member]
        self.staged[member.id, version] = StagedBuildpack(
            id=member.id,
            version=version,
            digest="",
            path="/nowhere",
            source="/nowhere",
            descriptor=descriptor,
            short=name,
        )
        self.programs[f"/cnb/buildpacks/acme_{name}/{version}/bin/build"] = program
        return member

    def layers(self, path: str = "") -> Path:
        """A host path below /layers."""
        return self.root / "layers" / path

    @property
    def store(self) -> LocalStore:
        """A new view of the store, as each command has."""
        return LocalStore(str(self.root / "store"))

    @property
    def cache(self) -> cache.CacheRecord:
        """What cache.json says now."""
        return cache.read(str(self.root / "cache.json"))

    @property
    def run_image(self) -> RunImage:
        """A run image of one layer."""
        data = File(target="/etc/os-release", data=b"ID=debian\n")
        layer = write_layer(self.store, [data], created_by="base").layer
        image = Image(
            env=(("PATH", "/usr/bin"), ("LANG", "C.UTF-8")),
            user="1000:1000",
            cmd=("bash",),
            labels={"io.buildpacks.base.distro.name": "debian", "kept": "yes"},
            exposed_ports=("80/tcp",),
        ).with_layers(layer)
        return RunImage(image=image, name="debian:13", reference=f"debian:13@{image.digest}", target=TARGET)

    def analyze(self) -> AnalyzeResult:
        """What the last image says."""
        found = self.store.read(NAME)
        return analyze(found.image if found else None, name=NAME, run=self.run_image)

    def restore(self, **changes: Any) -> RestoreResult:
        """Bring the layers directory to what the records say."""
        inputs = RestoreInputs(
            layers=str(self.layers()),
            owner=None,
            group=tuple(self.members),
            label=self.analyze().label,
            cache=self.cache,
            platform_api=self.platform_api,
        )
        inputs = replace(inputs, **changes)
        foreseen = foresee(inputs, has=self.store.has)
        self.restored = restore(inputs, store=self.store, reporter=self.reporter)
        # Whatever is tested here is also foreseen. That a copy is damaged is seen when it is read, and not before.
        done = {(d.buildpack, d.name): d for d in self.restored.decisions}
        assert {(d.buildpack, d.name) for d in foreseen} == done.keys()
        for one in foreseen:
            found = done[one.buildpack, one.name]
            assert found == one or (one.action == "unpacked" and found.reason == DAMAGED)
        return self.restored

    def build(self, **changes: Any) -> BuildResult:
        """Run all programs."""
        self.sandbox.programs = self.programs
        inputs = BuildInputs(
            layers=str(self.layers()),
            plans=str(self.root / "plans"),
            owner=None,
            group=tuple(self.members),
            plan=self.plan,
            buildpacks=self.staged,
            image_env={"PATH": "/usr/bin", "LANG": "C"},
            home="/home/cnb",
            target=TARGET,
            platform_api=self.platform_api,
        )
        self.built = build(replace(inputs, **changes), sandbox=self.sandbox, reporter=self.reporter)
        return self.built

    def export(self, **changes: Any) -> ExportResult:
        """Compose the image of what the last build left; nothing is saved."""
        launcher = self.root / "launcher"
        if not launcher.exists():
            launcher.write_bytes(b"\x7fELF launcher")
            launcher.chmod(0o755)
        assert self.built is not None
        inputs = ExportInputs(
            layers=str(self.layers()),
            user=(1000, 1001),
            app=Tree(source=str(self.root / "app"), target="/workspace", uid=1000, gid=1001),
            analyzed=self.analyze(),
            restored=self.restored,
            built=self.built,
            cache=self.cache,
            launcher=str(launcher),
            launcher_version="0.1.0",
            platform_api=self.platform_api,
        )
        return export(replace(inputs, **changes), store=self.store, reporter=self.reporter)

    def save(self, result: ExportResult) -> None:
        """Save the image, then the cache."""
        self.store.write(result.image, [NAME])
        cache.write(str(self.root / "cache.json"), result.cache)

    def cycle(self, *, clear: bool = False, exec_env: str = "production", **changes: Any) -> ExportResult:
        """A whole successful build; `changes` are for export."""
        self.restore(clear=clear, exec_env=exec_env)
        self.build(exec_env=exec_env)
        result = self.export(exec_env=exec_env, **changes)
        self.save(result)
        return result


def writes(files: dict[str, str]) -> Program:
    """A program that writes files into its layers directory, unless they hold just that."""

    def program(call: Any) -> None:
        for name, text in files.items():
            try:
                with open(call.path(name), encoding="utf-8") as file:
                    same = file.read() == text
            except FileNotFoundError:
                same = False
            if not same:
                call.write(name, text)

    return program
