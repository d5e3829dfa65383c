"""The buildpacks of this repository, tested with what we offer to those who write others: `packrunner.testing`.

It keeps its tongue: a program that ended with a code and printed something, and the files that it left.
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packrunner import testing
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from packrunner.testing import Built, Failure

ROOT = Path(__file__).resolve().parents[2]
PYTHON_DIR = os.path.join(sys.base_prefix, "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A finished bin/detect or bin/build."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        """The output, line by line."""
        return self.output.splitlines()


@dataclass(slots=True, kw_only=True)
class Buildpack:
    """A buildpack under test, with an application of its own."""

    root: Path
    under: testing.Buildpack
    env: dict[str, str] = field(default_factory=dict)
    """The execution environment, and what buildpacks before it set."""
    entries: str = ""
    """The build plan's entries for bin/build."""
    conventions: bool = True
    """Whether the platform reads what buildpack-conventions.md describes."""
    _built: Built | None = None
    _failure: Failure | None = None

    @classmethod
    def stage(cls, source: Path, root: Path) -> Buildpack:
        """The buildpack in `source`, run below `root`."""
        return cls(root=root, under=testing.Buildpack(source, root))

    @property
    def app(self) -> Path:
        """The application."""
        return self.under.app

    @property
    def layers(self) -> Path:
        """The buildpack's layers directory."""
        return self.under.layers

    @property
    def staged(self) -> Path:
        """The buildpack as a platform has it."""
        return self.under.staged

    @property
    def platform_env(self) -> Path:
        """Where the platform has the user's variables."""
        return self.root / "platform/env"

    @property
    def plan(self) -> Path:
        """The plan that bin/detect wrote; an empty file where it wrote none."""
        about = tomllib.loads((self.staged / "buildpack.toml").read_text())["buildpack"]
        path = self.root / f"plans/{BuildpackId(about['id']).escaped}@{about['version']}-detect.toml"
        path.touch()
        return path

    def set(self, name: str, value: str | bytes) -> None:
        """Set a variable as a user does."""
        self.under.set(name, os.fsdecode(value))

    def unset(self, name: str) -> None:
        """Take it back."""
        self.under.unset(name)

    def write(self, name: str, text: str | bytes = "") -> Path:
        """Write a file of the application."""
        return self.under.write(name, text)

    def detect(self) -> Ran:
        """Run bin/detect."""
        self._prepare()
        self.plan.unlink()
        found = self.under.detect()
        code = 0 if found.passed else 1 if found.error else 100
        return Ran(code=code, output=found.output)

    def build(self) -> Ran:
        """Run bin/build over what the layers directory holds, or a platform would bring back of it."""
        self._prepare()
        self._built = self._failure = None
        wanted = tomllib.loads(self.entries).get("entries", [])
        entries = [(one["name"], one.get("metadata", {})) for one in wanted]
        try:
            self._built = self.under.build(entries=entries)
        except testing.BuildpackError as error:
            self._failure = error.failure
            return Ran(code=1, output=error.failure.output if error.failure else str(error))
        return Ran(code=0, output=self._built.output)

    def restore(self) -> None:
        """Leave what a platform brings back for the next build."""
        self.under.restore()

    def toml(self, name: str) -> dict[str, Any]:
        """A file of the layers directory; empty when absent."""
        path = self.layers / name
        return tomllib.loads(path.read_text()) if path.exists() else {}

    @property
    def processes(self) -> dict[str, list[str]]:
        """The commands of the processes by type."""
        return {kind: list(one.command) for kind, one in self._built.processes.items()} if self._built else {}

    @property
    def default(self) -> str | None:
        """The default process type."""
        return self._built.default if self._built else None

    @property
    def details(self) -> dict[str, str]:
        """What the buildpack said of each layer."""
        layers = self._built.layers if self._built else {}
        return {name: one.detail for name, one in layers.items() if one.detail}

    @property
    def step(self) -> str:
        """What the buildpack said in its line."""
        return self._built.step if self._built else ""

    @property
    def failure(self) -> dict[str, Any]:
        """What the buildpack said of its failure."""
        if self._failure is None:
            return {}
        parts = {"brief": self._failure.brief, "at": self._failure.at, "try": list(self._failure.tries)}
        return {name: part for name, part in parts.items() if part}

    def files(self, layer: str) -> dict[str, bytes]:
        """Every file of a layer by relative path, with its mode; links as what they point to."""
        top = self.layers / layer
        found: dict[str, bytes] = {}
        for path in sorted(top.rglob("*")):
            if path.is_symlink():
                found[str(path.relative_to(top))] = b"-> " + os.fsencode(os.readlink(path))
            elif path.is_file():
                found[str(path.relative_to(top))] = b"%o " % (path.stat().st_mode & 0o777) + path.read_bytes()
        return found

    @property
    def platform(self) -> Path:
        """The platform directory."""
        return self.platform_env.parent

    def _prepare(self) -> None:
        given = dict(self.env)
        self.under.exec_env = given.pop("CNB_EXEC_ENV", "production")
        self.under.given = given
        self.under.conventions = self.conventions
