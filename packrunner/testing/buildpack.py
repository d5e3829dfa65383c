"""A buildpack under test: an application and variables for it, then its bin/detect and bin/build by the phases of
`packrunner build`, so that what breaks the specification there breaks the test.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from packrunner.catalog import builtin
from packrunner.catalog.stage import Stage
from packrunner.errors import BuildpackFailedError
from packrunner.events import Output, StepDone, Warned
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import GroupMember, Order
from packrunner.formats.plan import Entry, Plan, Provider
from packrunner.formats.plan import Require as Required
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle import build as building
from packrunner.lifecycle import detect as detection
from packrunner.lifecycle.notes import DIRECTORY
from packrunner.names import BuildpackId
from packrunner.testing import reading, restoring
from packrunner.testing.ground import Directories, opened
from packrunner.testing.results import BuildpackError, Built, Detected, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.events import Event
    from packrunner.sdk.build import Build
    from packrunner.sdk.detect import Detect
    from packrunner.testing.ground import Ground, How


class Buildpack:
    """The buildpack in `directory`, with directories of its own below `root`; `near` is where fixtures are.

    `app` is the application, `layers` the buildpack's layers directory, `exec_env` the execution environment; `given`
    are variables that buildpacks before it in a group set for bin/build, `arch` is the architecture that it is told,
    unless that is this machine's. Without `conventions` the platform is one that knows nothing of what packrunner
    reads beyond the specification (docs/reference/buildpack-conventions.md). Each build finds what a platform brings
    back of the one before.
    """

    def __init__(self, directory: Path, root: Path, *, near: Path | None = None, where: How = "programs") -> None:
        self.source = directory.resolve()
        self.app = root / "workspace"
        self.exec_env = "production"
        self.given: dict[str, str] = {}
        self.arch = ""
        self.conventions = True
        self._root = root
        self._near = near or self.source
        self._where: How = where
        self._variables: dict[str, str] = {}
        self._left = False
        for name in ("workspace", "layers", "platform/env", "plans", "home"):
            (root / name).mkdir(parents=True)

    def use(self, fixture: str | Path) -> None:
        """Copy an application, by its directory beside the test, over the one that is there."""
        shutil.copytree(self._near / fixture, self.app, symlinks=True, dirs_exist_ok=True)

    def write(self, name: str, text: str | bytes = "") -> Path:
        """Write a file of the application."""
        return _write(self.app / name, text)

    def set(self, name: str, value: str) -> None:
        """Set a variable as a user does, with `packrunner build -e`."""
        self._variables[name] = value
        _write(self._root / "platform/env" / name, value)

    def unset(self, name: str) -> None:
        """Take a variable back."""
        del self._variables[name]
        (self._root / "platform/env" / name).unlink()

    def bind(self, name: str, kind: str, **entries: str) -> None:
        """Bind a service, as `packrunner build --binding` does: its type, and a file for each entry."""
        for key, value in {"type": kind, **entries}.items():
            _write(self._root / "platform/bindings" / name / key, value)

    def detect(self, function: Callable[[Detect], None] | None = None) -> Detected:
        """Run bin/detect, or `function` in its place and in this process."""
        staged, directories = self._staged()
        key = (staged.id, staged.version)
        with opened(self._where, directories, source=str(self.source), calls=_detects(function)) as ground:
            found = detection.examine(
                detection.DetectInputs(
                    order=Order(order=(OrderGroup(group=(GroupRef(id=staged.id, version=staged.version),)),)),
                    buildpacks={key: staged},
                    plans_dir=directories["plans"],
                    target=self._target(ground),
                    image_env=ground.env,
                    platform_env=self._variables,
                    home=ground.home,
                    exec_env=self.exec_env,
                    places=ground.places,
                    owner=ground.owner,
                ),
                sandbox=ground.sandbox,
            )
        return reading.detected(found, key)

    def build(
        self,
        function: Callable[[Build], None] | None = None,
        *,
        entries: Sequence[tuple[str, Mapping[str, Any]]] | None = None,
    ) -> Built:
        """Run bin/build, or `function` in its place and in this process. Raises BuildpackError when it fails.

        `entries` are the names, and their metadata, that others and it require of it; unless given those of the first
        alternative that bin/detect writes, which has to pass.
        """
        built = self._build(function, entries)
        if isinstance(built, Failure):
            text = "\n".join(filter(None, (built.output, f"bin/build failed: {built.brief}", built.at)))
            raise BuildpackError(text, built)
        return built

    def fail(
        self,
        function: Callable[[Build], None] | None = None,
        *,
        entries: Sequence[tuple[str, Mapping[str, Any]]] | None = None,
    ) -> Failure:
        """Run bin/build like `build`, but it has to fail. Raises BuildpackError when it does not."""
        built = self._build(function, entries)
        if isinstance(built, Built):
            raise BuildpackError(f"{built.output}\nbin/build was to fail, and did not")
        return built

    @property
    def staged(self) -> Path:
        """The buildpack as a platform has it, with all that its `[metadata.packrunner]` asks for; not to be changed."""
        return Path(self._staged()[0].path)

    @property
    def layers(self) -> Path:
        """Its layers directory, as the last build left it or `restore` made it."""
        own = self._root / "layers" / BuildpackId(self._staged()[0].id).escaped
        own.mkdir(exist_ok=True)
        return own

    def restore(self) -> None:
        """Make of what the last build left what a platform brings back; `build` does, unless this was called before.

        What is changed then is what the next build finds: a layer that got lost, metadata of an older version.
        """
        if self._left:
            restoring.restore(self.layers)
        self._left = False

    def forget(self) -> None:
        """Let the next build be the first again."""
        shutil.rmtree(self._root / "layers")
        (self._root / "layers").mkdir()
        self._left = False

    def _build(
        self, function: Callable[[Build], None] | None, entries: Sequence[tuple[str, Mapping[str, Any]]] | None
    ) -> Built | Failure:
        plan = self._entries() if entries is None else entries
        staged, directories = self._staged()
        member = GroupMember(id=staged.id, version=staged.version, api=staged.descriptor.api)
        own = self.layers
        self.restore()
        self._left = True
        heard = _Heard()
        calls = _builds(function)
        without = "" if self.conventions else str(own / DIRECTORY)
        with opened(self._where, directories, source=str(self.source), calls=calls, without=without) as ground:
            try:
                result = building.build(
                    building.BuildInputs(
                        layers=directories["layers"],
                        plans=directories["plans"],
                        owner=ground.owner,
                        group=(member,),
                        plan=_plan(member, plan),
                        buildpacks={(staged.id, staged.version): staged},
                        image_env=ground.env,
                        home=ground.home,
                        target=self._target(ground),
                        platform_env=self._variables,
                        exec_env=self.exec_env,
                        places=ground.places,
                        extended_env=self.given,
                    ),
                    sandbox=ground.sandbox,
                    reporter=heard,
                )
            except BuildpackFailedError as error:
                subject = f"{staged.short} {staged.version} "
                brief = error.brief.removeprefix(subject)
                return Failure(brief=brief, at=error.at or "", tries=error.tries, output=heard.output)
        return reading.built(
            result,
            own,
            place=f"{ground.places.layers}/{own.name}",
            step=heard.step,
            warnings=tuple(heard.warnings),
            output=heard.output,
        )

    def _target(self, ground: Ground) -> RunTarget:
        target = RunTarget(*ground.target)
        return target._replace(arch=self.arch) if self.arch else target

    def _entries(self) -> list[tuple[str, Mapping[str, Any]]]:
        found = self.detect()
        if not found.passed:
            why = found.error or found.reason
            raise BuildpackError(f"{found.output}\nbin/detect has to pass before bin/build: it {why}")
        first = found.alternatives[0]
        return [(one.name, one.metadata) for one in first.requires if one.name in first.provides]

    def _staged(self) -> tuple[StagedBuildpack, Directories]:
        """The buildpack as a platform has it: checked, and with the SDK inside if it asks for that."""
        stage = Stage(str(self._root / "stage"), sdk_dir=builtin.sdk_dir(), programs_dir=builtin.programs_dir())
        staged = stage.add(str(self.source), shown=str(self.source))
        return staged, Directories(root=str(self._root), buildpacks=stage.combine([staged]))


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(text) if isinstance(text, str) else text)
    return path


def _plan(member: GroupMember, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Plan:
    providers = (Provider(id=member.id, version=member.version),)
    by_name: dict[str, list[Required]] = {}
    for name, metadata in entries:
        by_name.setdefault(name, []).append(Required(name=name, metadata=dict(metadata)))
    return Plan(entries=tuple(Entry(providers=providers, requires=tuple(one)) for one in by_name.values()))


def _detects(function: Callable[[Detect], None] | None) -> dict[str, Callable[[], object]]:
    from packrunner.sdk import detect

    return {"detect": lambda: detect.main(function)} if function else {}


def _builds(function: Callable[[Build], None] | None) -> dict[str, Callable[[], object]]:
    from packrunner.sdk import build

    return {"build": lambda: build.main(function)} if function else {}


class _Heard:
    """What is said while bin/build runs."""

    def __init__(self) -> None:
        self._data = b""
        self.step = ""
        self.warnings: list[str] = []

    @property
    def output(self) -> str:
        return self._data.decode(errors="replace")

    def emit(self, event: Event) -> None:
        match event:
            case Output():
                self._data += event.data
            case StepDone():
                self.step = event.detail
            case Warned():
                self.warnings.append(event.text)
            case _:
                pass
