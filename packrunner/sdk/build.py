"""For bin/build: what is known, what can be added to the image, and the files that say so (BLD-01 - BLD-28).

    from packrunner.sdk.build import Build, main
    from packrunner.sdk.sbom import Component

    def build(context: Build) -> None:
        layer = context.layer("tool", launch=True, build=True, cache=True)
        if not layer.reuse({"tool": VERSION, "arch": context.target.arch}, source="version"):
            layer.unpack(context.download(URL, sha256=SHA256), strip=1)
            layer.components(Component("tool", VERSION, license="MIT", url=URL, sha256=SHA256))
            layer.env("TOOL_HOME", layer.path)
            layer.describe(VERSION)
        context.process("web", ["tool", "serve"], default=True)

    main(build)

Nothing is written before the function returns, the layers' content aside: a build that fails leaves no half-told story.
"""

from __future__ import annotations

import os
import sys

from . import report, toml
from .context import Context
from .layers import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, NoReturn

    from .layers import SbomFormat
    from .sbom import Component, Format


class Build(Context):
    """What bin/build knows, and what it adds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers_dir = os.environ["CNB_LAYERS_DIR"]
        self.step = ""
        """The text of the buildpack's own line; elsewhere than in packrunner, its last line of output."""
        self._layers: list[Layer] = []
        self._launch: dict[str, list[toml.Value]] = {}
        self._unmet: list[toml.Value] = []
        self._store: dict[str, toml.Value] | None = None
        self._scratch = ""

    def layer(self, name: str, *, launch: bool = False, build: bool = False, cache: bool = False) -> Layer:
        """Declare a layer: in the image, in the environment of later buildpacks, back again at the next build."""
        layer = Layer(self.layers_dir, name, launch=launch, build=build, cache=cache, formats=self._formats)
        self._layers.append(layer)
        return layer

    def process(
        self,
        kind: str,
        command: Sequence[str],
        *,
        args: Sequence[str] = (),
        default: bool = False,
        working_dir: str = "",
        exec_env: Sequence[str] = (),
        reload: Literal["", "self", "restart"] = "",
    ) -> None:
        """Declare a process. `command` always runs; a user's arguments take the place of `args` (LAU-06).

        With `reload`, an image for development starts it under the supervisor of the buildpack `live-reload`, where
        that takes part: `self` for a program that takes changed files by itself, else `restart`.
        """
        process: dict[str, toml.Value] = {"type": kind, "command": [*self._supervisor(kind, reload), *command]}
        if args:
            process["args"] = list(args)
        if default:
            process["default"] = True
        if working_dir:
            process["working-dir"] = working_dir
        if exec_env:
            process["exec-env"] = list(exec_env)
        self._launch.setdefault("processes", []).append(process)

    def _supervisor(self, kind: str, reload: str) -> list[str]:
        reloader = os.environ.get("PACKRUNNER_RELOADER", "")
        if not reload or not reloader or not self.development:
            return []
        return [reloader, "run", "--name", kind, *(["--self"] if reload == "self" else []), "--"]

    def label(self, key: str, value: str) -> None:
        """Add a label to the image."""
        self._launch.setdefault("labels", []).append({"key": key, "value": value})

    def slice(self, *patterns: str) -> None:
        """Put what matches these patterns, relative to the application, into a layer of its own (EXP-12)."""
        self._launch.setdefault("slices", []).append({"paths": patterns})

    def _formats(self) -> list[Format]:
        from .sbom import declared

        return declared(self.descriptor)

    def components(self, scope: Literal["launch", "build"], *components: Component) -> None:
        """Say what is in the application or was used for it, and is in no layer: a bill of materials (BLD-26)."""
        from . import sbom

        subject = self.about("name") or self.about("id")
        sbom.write(os.path.join(self.layers_dir, scope), components, subject=subject, formats=self._formats)

    def sbom(self, scope: Literal["launch", "build"], kind: SbomFormat, document: str | bytes) -> None:
        """Add one that another program wrote."""
        report.write(os.path.join(self.layers_dir, f"{scope}.sbom.{kind}.json"), document)

    def entries(self) -> list[Mapping[str, object]]:
        """What others require of the names this buildpack provides: dicts of `name` and maybe `metadata` (BLD-03)."""
        entries = toml.read(os.environ["CNB_BP_PLAN_PATH"]).get("entries", [])
        return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []

    def unmet(self, name: str) -> None:
        """Leave a required name to the next provider; all others count as met (BLD-04)."""
        self._unmet.append({"name": name})

    @property
    def store(self) -> dict[str, toml.Value]:
        """What this buildpack remembers from build to build; changes are kept (RES-08)."""
        if self._store is None:
            metadata = toml.read(os.path.join(self.layers_dir, "store.toml")).get("metadata")
            self._store = dict(metadata) if isinstance(metadata, dict) else {}
        return self._store

    def run(
        self,
        argv: Sequence[str],
        *,
        doing: str,
        env: Mapping[str, str] | None = None,
        quiet: bool = False,
        explain: Callable[[str], report.Failure | None] | None = None,
    ) -> str:
        """Run a program in the application's directory; `command.run` has the details."""
        from .command import run

        return run(argv, doing=doing, env=env, cwd=self.app_dir, quiet=quiet, explain=explain)

    def download(self, url: str, *, sha256: str, into: str = "", headers: Mapping[str, str] | None = None) -> str:
        """Fetch a file and verify it; return its path. `fetch.download` has the details.

        It is gone when bin/build ends, unless `into` is a directory that stays: a layer's, which `cache` brings back.
        """
        from .fetch import download

        name = url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
        return download(url, sha256=sha256, to=os.path.join(into or self._temporary(), name), headers=headers)

    def _temporary(self) -> str:
        if not self._scratch:
            from tempfile import mkdtemp

            self._scratch = mkdtemp(prefix="buildpack-")
        return self._scratch

    def close(self) -> None:
        """Remove what was not to stay; called by `main`."""
        if self._scratch:
            import shutil

            shutil.rmtree(self._scratch)

    def write(self) -> None:
        """Write all files of the specification, and the report for the platform; called by `main`."""
        for layer in self._layers:
            layer.write()
        files: tuple[tuple[str, toml.Table | None], ...] = (
            ("launch.toml", self._launch),
            ("build.toml", {"unmet": self._unmet} if self._unmet else None),
            ("store.toml", None if self._store is None else {"metadata": self._store}),
        )
        for name, table in files:
            if table:
                report.write(os.path.join(self.layers_dir, name), toml.dumps(table))
        report.succeed(
            self.layers_dir, self.step, [(layer.name, layer.detail) for layer in self._layers if layer.detail]
        )


def main(build: Callable[[Build], None]) -> NoReturn:
    """Run bin/build: exit 0 when `build` returns, 1 with an explanation when it raises a Failure (BLD-06)."""
    # Modes are part of a layer's digest, and must not depend on who runs the build.
    os.umask(0o022)
    context = Build()
    try:
        build(context)
    except report.Failure as failure:
        report.fail(failure, context.layers_dir)
        sys.exit(1)
    finally:
        context.close()
    context.write()
    sys.exit(0)
