"""The program that compiles buildpacks' modules: its text is run in a sandbox, by the build image's own Python.

    python3 -I -S -B -c TEXT /cnb/buildpacks/python/1.0 ...

It says, for each file by its place below `pycache_prefix`, which it is; places end with NUL:

    new SIZE PLACE    compiled now: SIZE bytes follow
    own PLACE         the interpreter has it already, in the directory __pycache__ beside the module
    all PLACE         a package: the interpreter has all of it already, in its __pycache__

Python looks for all modules below the prefix, its own too. Nothing is imported or run of what is compiled.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER, source_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Buildpacks do not change where they are shown, so nobody needs to look at the sources again.
_UNCHECKED = (1).to_bytes(4, "little")
_FOREIGN = ("site-packages", "dist-packages", "test")
MOST = 1 << 20
"""Bytes of sources: beyond them, some ten thousand lines, it takes longer than it is worth."""


def main(directories: list[str], library: list[str], write: Callable[[bytes], object]) -> None:
    """Compile the modules in `directories`; name those that are compiled in `library`, directories too."""
    done: dict[bytes, bytes] = {}
    left = MOST
    for place, path in _modules(directories):
        with open(path, "rb") as file:
            source = file.read(MOST + 1)
        if source not in done:
            left -= len(source)
            if left < 0:
                break
            done[source] = _compiled(source, path)
        if done[source]:
            write(f"new {len(done[source])} ".encode() + os.fsencode(place) + b"\0" + done[source])
    for line in _library(library):
        write(os.fsencode(line) + b"\0")


def _modules(directories: list[str]) -> Iterator[tuple[str, str]]:
    for top in directories:
        for directory, names, files in os.walk(top):
            names.sort()
            for name in sorted(files):
                stem, suffix = os.path.splitext(name)
                if suffix == ".py" and os.path.isfile(os.path.join(directory, name)):
                    yield f"{directory[1:]}/{stem}.{sys.implementation.cache_tag}.pyc", os.path.join(directory, name)


def _compiled(source: bytes, path: str) -> bytes:
    """The content of the file for a module; nothing for what is not Python, or not of this version."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return b""
    return MAGIC_NUMBER + _UNCHECKED + source_hash(source) + marshal.dumps(code)


def _library(library: list[str]) -> Iterator[str]:
    suffix = f".{sys.implementation.cache_tag}.pyc"
    for top in library:
        for directory, names, _ in os.walk(top):
            names[:] = sorted(name for name in names if name not in _FOREIGN)
            if "__pycache__" not in names:
                continue
            names.remove("__pycache__")
            if directory != top and not names:
                # One link in place of many, of which long ones cost 0.1 ms each.
                yield f"all {directory[1:]}"
                continue
            found = sorted(os.listdir(os.path.join(directory, "__pycache__")))
            yield from (f"own {directory[1:]}/{name}" for name in found if name.endswith(suffix))


if __name__ == "__main__":
    main(sys.argv[1:], sys.path, sys.stdout.buffer.write)
