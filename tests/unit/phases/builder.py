"""A builder's container as directories, and the phases called in it with a sandbox of Python functions."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packrunner.cli import main
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.layout_write import write_layout
from packrunner.images.layouts import Layouts
from packrunner.images.reference import Reference
from packrunner.images.store import LocalStore
from tests.fakes import Call, FakeSandbox, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

    from packrunner.engines.base import Sandbox, SandboxSpec
    from packrunner.events import Reporter
    from packrunner.lifecycle.repository import Repository

DESCRIPTOR = """api = "{api}"
[buildpack]
id = "acme/{name}"
version = "1.0.0"
sbom-formats = ["application/vnd.cyclonedx+json"]
"""


class Here:
    """An engine that runs Python functions, in directories that are the same inside and outside."""

    name = "here"

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self.programs = programs
        self.sandboxes: list[FakeSandbox] = []

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        for mount in spec.mounts:
            assert mount.source == mount.target
        sandbox = FakeSandbox(programs=self.programs, mounts={"/": "/"} | {m.target: m.source for m in spec.mounts})
        self.sandboxes.append(sandbox)
        yield sandbox


@dataclass
class World:
    """`call` runs a phase as the command line does; `root` holds all directories and files of the builder."""

    root: Path
    environ: pytest.MonkeyPatch
    programs: dict[str, Program] = field(default_factory=dict)
    level: str = "0.15"
    in_layouts: bool = True
    """Whether images are in layouts; else they are in registries."""

    def __post_init__(self) -> None:
        for name in ("layers", "app", "platform/env", "bps", "build-config/env", "layout", "cache"):
            (self.root / name).mkdir(parents=True)
        (self.root / "launcher").write_bytes(b"\x7fELF launcher")
        (self.root / "launcher").chmod(0o755)
        self.environ.setenv("CNB_EXPERIMENTAL_MODE", "silent")
        self.environ.setenv("CNB_USER_ID", str(os.getuid() or 1000))
        self.environ.setenv("CNB_GROUP_ID", str(os.getgid() or 1000))
        self.put("run.toml", '[[images]]\nimage = "acme/run:1"\n')
        self.put("stack.toml", '[run-image]\nimage = "acme/run:1"\n')
        self.run_image("acme/run:1")
        self.order("a")

    def put(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def add(self, name: str, build: Program, detect: Program = lambda _: 0, *, api: str = "0.10") -> None:
        """Install a buildpack."""
        place = self.root / "bps" / f"acme_{name}" / "1.0.0"
        self.put(f"bps/acme_{name}/1.0.0/buildpack.toml", DESCRIPTOR.format(api=api, name=name))
        for program, run in (("build", build), ("detect", detect)):
            path = self.put(f"bps/acme_{name}/1.0.0/bin/{program}", "#!/bin/sh\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            self.programs[f"{place}/bin/{program}"] = run

    def order(self, *names: str) -> None:
        """Write order.toml with one group."""
        self.put("order.toml", "[[order]]\n" + "".join(f'[[order.group]]\nid = "acme/{n}"\n' for n in names))

    def run_image(self, name: str, *, working_dir: str = "") -> Image:
        """Put a run image into the layouts."""
        store = LocalStore(str(self.root / "store"))
        layer = write_layer(
            store, [File(target="/etc/base", data=(name + working_dir).encode())], created_by="base"
        ).layer
        labels = {f"io.buildpacks.base.distro.{key}": value for key, value in (("name", "debian"), ("version", "13"))}
        image = Image(env=(("PATH", "/bin"),), user="1000:1000", labels=labels, working_dir=working_dir)
        image = image.with_layers(layer)
        reference = Reference.parse(name)
        write_layout(str(self.root / "layout" / reference.layout_path), image, store, reference.tag)
        return image

    @property
    def layouts(self) -> Layouts:
        """The directory of layouts."""
        return Layouts(str(self.root / "layout"))

    def path(self, name: str) -> Path:
        """A path below the root."""
        return self.root / name

    def __call__(self, phase: str, *args: str, **env: str) -> int:
        """Run a phase; its exit code."""
        flags = {
            **({"-layers": "layers"} if phase != "rebase" else {"-report": "layers/report.toml"}),
            **({"-app": "app"} if phase in {"detect", "build", "export", "create", "generate"} else {}),
            **({"-extensions": "exts"} if phase in {"detect", "generate", "create"} else {}),
            **(
                {"-platform": "platform", "-buildpacks": "bps", "-build-config": "build-config"}
                if phase in {"detect", "generate", "build", "create"}
                else {}
            ),
            **({"-order": "order.toml"} if phase in {"detect", "create"} else {}),
            **({"-run": "run.toml"} if phase in {"analyze", "export", "create"} and self.level >= "0.12" else {}),
            **({"-launcher": "launcher"} if phase in {"export", "create"} else {}),
            **(
                {"-layout-dir": "layout"}
                if self.in_layouts and phase in {"analyze", "export", "rebase", "create"}
                else {}
            ),
            **({"-cache-dir": "cache"} if phase in {"restore", "export", "create"} else {}),
        }
        words = [word for name, place in flags.items() for word in (name, str(self.root / place))]
        if "-layout-dir" in flags:
            words.append("-layout")
        with self.environ.context() as patch:
            patch.setenv("CNB_PLATFORM_API", self.level)
            for name, value in env.items():
                patch.setenv(name, value)
            return main(["lifecycle", phase, *words, *args], services=Doors(self))  # type: ignore[arg-type] # the doors that phases use

    def all(self, *images: str, **env: str) -> list[int]:
        """The five phases of a pipeline; their exit codes."""
        first, *more = images or ("acme/shop",)
        tags = [word for name in more for word in ("-tag", name)]
        calls: list[tuple[str, ...]] = [
            ("analyze", *tags, first),
            ("detect",),
            ("restore",),
            ("build",),
            ("export", first, *more),
        ]
        return [self(*words, **env) for words in calls]


@dataclass
class Doors:
    """What phases ask of the composition root."""

    world: World

    def inline_engine(self) -> Here:
        return Here(self.world.programs)

    def layouts(self, directory: str) -> Layouts:
        return Layouts(directory)

    def registry(self, reporter: Reporter, *, insecure: Sequence[str]) -> AbstractContextManager[Repository]:
        from packrunner.cli.wiring.registries import registry

        return registry(reporter, insecure=insecure)

    def launcher(self) -> str:
        return str(self.world.path("launcher"))


def writes(files: Mapping[str, str]) -> Callable[[Call], None]:
    """A bin/build that writes files into its layers directory."""

    def program(call: Call) -> None:
        for name, text in files.items():
            call.write(name, text)

    return program
