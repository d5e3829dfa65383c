"""What bin/detect and bin/build did, as values to assert on; an assertion that fails shows all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.environment import ROOT_DIRS, BuildEnv, LayerEnv, apply_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from packrunner.formats.layer import Process


class BuildpackError(AssertionError):
    """A buildpack did not do what the test takes for granted: it declined, or its bin/build failed, with `failure`."""

    def __init__(self, text: str, failure: Failure | None = None) -> None:
        super().__init__(text)
        self.failure = failure


class Require(msgspec.Struct, frozen=True):
    """A name that is required, and what its provider is told."""

    name: str
    metadata: dict[str, Any] = {}


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One alternative of a build plan."""

    provides: tuple[str, ...] = ()
    requires: tuple[Require, ...] = ()


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """How bin/detect ended: it `passed`, with its plan; or gave the `reason` why not, and what to `tries`.

    `error` says why it gave no answer at all: it broke, its plan is wrong, it is for another target. `alternatives`
    are all pairs of the plan, the first one's parts are `provides` and `requires`.
    """

    passed: bool
    reason: str = ""
    tries: tuple[str, ...] = ()
    error: str = ""
    alternatives: tuple[Pair, ...] = (Pair(),)
    output: str = ""

    @property
    def provides(self) -> tuple[str, ...]:
        """The names that the first alternative provides."""
        return self.alternatives[0].provides

    @property
    def requires(self) -> Mapping[str, dict[str, Any]]:
        """The metadata of each name that the first alternative requires."""
        return {one.name: one.metadata for one in self.alternatives[0].requires}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why bin/build failed, in the words that its user sees."""

    brief: str
    at: str = ""
    tries: tuple[str, ...] = ()
    output: str = ""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that the buildpack declared: its types, metadata and files. `detail` is what was said about it.

    `path` is where it is now, and `place` where its files say that it is: in the sandbox that is another directory.
    """

    name: str
    path: Path
    place: str
    launch: bool
    build: bool
    cache: bool
    metadata: dict[str, Any]
    detail: str = ""
    sboms: dict[str, Any] = {}

    @property
    def reused(self) -> bool:
        """Whether the buildpack said that it took the last build's content."""
        return self.detail.startswith("reused")

    @property
    def files(self) -> tuple[str, ...]:
        """The relative paths of all files and links, sorted."""
        found = []
        for directory, names, files in os.walk(self.path):
            links = [name for name in names if os.path.islink(os.path.join(directory, name))]
            found += [os.path.relpath(os.path.join(directory, name), self.path) for name in (*files, *links)]
        return tuple(sorted(found))

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.path / name).read_text(encoding="utf-8")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What bin/build left: layers by name, processes by type, labels by key, SBOMs by scope and format.

    `default` is the type of the default process. `step` is the buildpack's own line, `warnings` is what the platform
    says about what is tolerated.
    """

    layers: dict[str, Layer]
    processes: dict[str, Process]
    default: str | None = None
    labels: dict[str, str] = {}
    slices: tuple[tuple[str, ...], ...] = ()
    unmet: tuple[str, ...] = ()
    store: dict[str, Any] = {}
    sboms: dict[str, dict[str, Any]] = {}
    step: str = ""
    warnings: tuple[str, ...] = ()
    output: str = ""

    def env_at_build(self, start: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of later buildpacks, as the layers for building change those of `start` (BLD-17 - BLD-25)."""
        layers = [
            LayerEnv(
                path=one.place,
                dirs=frozenset(name for name, _ in ROOT_DIRS if (one.path / name).is_dir()),
                env=_files(one.path / "env"),
                env_build=_files(one.path / "env.build"),
            )
            for one in self._sorted("build")
        ]
        return dict(BuildEnv(dict(start or {})).after(layers).variables)

    def env_at_launch(self, process: str = "", start: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a process, as the layers for launching change those of `start`.

        Those that programs in exec.d set are not among them: nothing is run.
        """
        variables = dict(start or {})
        for one in self._sorted("launch"):
            for directory, name in (("bin", "PATH"), ("lib", "LD_LIBRARY_PATH")):
                if (one.path / directory).is_dir():
                    variables[name] = ":".join(filter(None, (f"{one.place}/{directory}", variables.get(name))))
        for one in self._sorted("launch"):
            for directory in ("env", "env.launch", *([f"env.launch/{process}"] if process else [])):
                apply_files(variables, _files(one.path / directory))
        return variables

    def _sorted(self, kind: str) -> list[Layer]:
        return [one for _, one in sorted(self.layers.items()) if getattr(one, kind)]


def _files(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
