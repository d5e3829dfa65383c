"""A layer of a buildpack: its directory, what it was made from, where it is used, what it sets (BLD-07 - BLD-25).

<layers>/<name>.toml        types, and the key it was made from as metadata
<layers>/<name>/            the content
    env/  env.build/  env.launch/  env.launch/<process>/      NAME.override and the like
    exec.d/                 programs that set variables at each start
<layers>/<name>.sbom.<ext>  what is in it
"""

from __future__ import annotations

import os

from . import toml
from .report import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from .sbom import Component, Format

    How = Literal["override", "default", "append", "prepend"]
    SbomFormat = Literal["cdx", "spdx", "syft"]

_READABLE = 24
"""Values up to this length are shown when they change; longer ones are digests to a reader."""


class Layer:
    """Made by `Build.layer`; written when the build ends well."""

    def __init__(
        self,
        layers_dir: str,
        name: str,
        *,
        launch: bool,
        build: bool,
        cache: bool,
        formats: Callable[[], list[Format]],
    ) -> None:
        self.name = name
        self._formats = formats
        self.path = os.path.join(layers_dir, name)
        self.launch = launch
        self.build = build
        self.cache = cache
        self.metadata: Mapping[str, toml.Value] = {}
        self.detail = ""
        self.absent = False
        self._source = ""
        self._why = ""

    def restored(self) -> Mapping[str, toml.Value]:
        """The metadata of the last build's layer; empty when there was none (RES-09 - RES-14)."""
        metadata = toml.read(f"{self.path}.toml").get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def reuse(self, key: Mapping[str, str], *, source: str) -> bool:
        """Whether the last build's layer was made from `key`, and so can stay. If not, the layer is empty now.

        `key` maps what the content depends on, in words that people know (`python`, `requirements.txt`), to versions
        and digests; `source` is the main one, named when nothing changed. A layer for launching only needs no content
        here to be reused: the platform has it.
        """
        old = self.restored()
        self.metadata = key
        self._source = source
        there = os.path.isdir(self.path)
        if old == key and (there or not (self.build or self.cache)):
            self.detail = f"reused ({source} unchanged)"
            return True
        self._why = _difference(old, key, there=there)
        self.clear()
        return False

    def keep(self, *, source: str) -> bool:
        """Declare a restored layer again without looking into it, because `source` has not changed.

        False, and no layer, when there is none.
        """
        restored = self.restored()
        if not restored or not os.path.isdir(self.path):
            self.absent = True
            return False
        self.metadata = restored
        self.detail = f"reused ({source} unchanged)"
        return True

    def clear(self) -> None:
        """Empty the layer's directory, making it when it is not there."""
        self.absent = False
        if os.path.lexists(self.path):
            import shutil

            shutil.rmtree(self.path)
        os.makedirs(self.path)

    def describe(self, content: str) -> None:
        """Say what is in the new layer: a count, a version; the reason why it is new follows by itself."""
        reason = self._why or self._source
        self.detail = f"new: {content}" + (f" ({reason})" if reason else "")

    def env(self, name: str, value: str | bytes, how: How = "override", *, delim: str = "", at: str = "") -> None:
        """Set a variable in the launched process and in later buildpacks, or only `at` build, launch, launch/web.

        Values are taken to the byte. `delim` joins append and prepend; it is empty unless given (BLD-23).
        """
        directory = os.path.join(self.path, f"env.{at}" if at else "env")
        os.makedirs(directory, exist_ok=True)
        write(os.path.join(directory, f"{name}.{how}"), value)
        if delim:
            write(os.path.join(directory, f"{name}.delim"), delim)

    def file(self, name: str, content: str | bytes, *, program: bool = False) -> str:
        """Write a file of the layer, and the directories that it is in; return its path."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path, content)
        if program:
            os.chmod(path, 0o755)  # noqa: S103 - it is a program
        return path

    def unpack(self, archive: str, *, at: str = "", strip: int = 0, only: Sequence[str] = ()) -> int:
        """Unpack a tar or zip archive into the layer, or into `at` in it; `unpack.unpack` has the details."""
        from .unpack import unpack

        return unpack(archive, os.path.join(self.path, at) if at else self.path, strip=strip, only=only)

    def exec_d(self, name: str, program: str | bytes | Callable[[], Mapping[str, str]], *, process: str = "") -> None:
        """Add what sets variables at each start, of one process or of all (LAU-15).

        `program` is a file that begins with `#!`, or a compiled program; or lines for the shell, in which
        `set_env NAME VALUE` sets one; or a function of Python that returns them and needs nothing of its module.
        """
        if callable(program):
            from .execd import of_function

            program = of_function(program)
        elif isinstance(program, str) and not program.startswith("#!"):
            from .execd import of_shell

            program = of_shell(program)
        self.file(os.path.join("exec.d", process, name), program, program=True)

    def components(self, *components: Component) -> None:
        """Say what is in the layer: a bill of materials in each format that buildpack.toml lists (BLD-26)."""
        from . import sbom

        sbom.write(self.path, components, subject=self.name, formats=self._formats)

    def sbom(self, kind: SbomFormat, document: str | bytes) -> None:
        """Add a bill of materials that another program wrote; `sbom-formats` has to list its media type (BLD-26)."""
        write(f"{self.path}.sbom.{kind}.json", document)

    def write(self) -> None:
        """Write `<name>.toml`, unless there was nothing to keep; called by `Build` at the end."""
        if self.absent:
            return
        types = {"launch": self.launch, "build": self.build, "cache": self.cache}
        table: dict[str, toml.Value] = {"types": types}
        if self.metadata:
            table["metadata"] = self.metadata
        write(f"{self.path}.toml", toml.dumps(table))


def _difference(old: Mapping[str, toml.Value], new: Mapping[str, str], *, there: bool) -> str:
    """Why a layer cannot be reused, in words; empty when there was none before."""
    if not old:
        return ""
    changes = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        short = isinstance(before, str) and after is not None and max(len(before), len(after)) <= _READABLE
        changes.append(f"{name} {before} -> {after}" if short else f"{name} changed")
    if changes:
        return ", ".join(changes)
    return "" if there else "the cached copy is gone"
