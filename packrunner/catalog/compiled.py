"""Compiled modules of the buildpacks on the SDK, shown at /cnb/pycache: their programs start in half the time.

    <stage dir>/compiled/<key>/         one tree for a selection and a build image, whole as soon as it is there
    <stage dir>/compiled/<key>.note     there since the first build with them; NOTHING where nothing came of it

The build image's own interpreter compiles, in a build's sandbox before any buildpack has run in it, and says what it
made. What it says makes files for that image and those buildpacks only, and none that code of theirs can change.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING

from packrunner.catalog import tree
from packrunner.confined import Root
from packrunner.disk import disk_error, temporary, write_atomic
from packrunner.engines.base import Command, Mount
from packrunner.errors import StoreError
from packrunner.names import BuildpackId
from packrunner.workspace import BUILDPACKS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.catalog.selection import Selection
    from packrunner.engines.base import Sandbox, Stream

TARGET = "/cnb/pycache"
DIRECTORY = "compiled"
NOTHING = b"nothing"

_FORMAT = "1"
_MOST = 20
_OUTPUT_LIMIT = 8 << 20
_MODULES_LIMIT = 10_000
_TIME_LIMIT = 20.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG = logging.getLogger(__name__)


class CompiledModules:
    """What a selection has of them in a build image, which is the stack of directories `rootfs`."""

    def __init__(self, selection: Selection, rootfs: Sequence[str], *, path: str) -> None:
        self._path = path or _PATH
        # Bounded: an order may name hundreds, of which a build runs a few.
        self._buildpacks = sorted({(b.id, b.version) for b in selection.buildpacks.values() if b.sdk and b.digest})
        del self._buildpacks[_MOST:]
        # The root is one of the directory's selections, by a digest of what is in it.
        self._stage = os.path.dirname(os.path.dirname(selection.root))
        key = "\0".join((_FORMAT, os.path.basename(selection.root), *rootfs))
        self._key = hashlib.sha256(os.fsencode(key)).hexdigest()
        self._place = os.path.join(self._stage, DIRECTORY, self._key)

    def mounts(self) -> tuple[Mount, ...]:
        """What shows them to a sandbox; nothing where there are none."""
        if not self._buildpacks:
            return ()
        try:
            os.utime(self._place)  # prune goes by this
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise disk_error(error, self._place) from error
        return (Mount(source=self._place, target=TARGET, content=self._key),)

    def make(self, sandbox: Sandbox, *, at_once: bool) -> None:
        """Make what is lacking, for the next build, in a sandbox in which no buildpack has run yet.

        Unless `at_once`, the first build only notes that there will be others. What is wrong with it costs time only.
        Raises EngineError where the sandbox itself broke.
        """
        if not self._buildpacks or os.path.isdir(self._place):
            return
        try:
            note = self._note()
            if note is None:
                tree.make_directory(os.path.dirname(self._place))
                write_atomic(f"{self._place}.note", b"")
            if (at_once or note is not None) and note != NOTHING and not self._made(_run(self._command(), sandbox)):
                write_atomic(f"{self._place}.note", NOTHING)
        except StoreError as error:
            _LOG.info("compiled modules are not kept: %s", error.brief)

    def _note(self) -> bytes | None:
        try:
            with open(f"{self._place}.note", "rb") as file:
                return file.read(len(NOTHING))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"{self._place}.note") from error

    def _command(self) -> Command:
        with open(os.path.join(os.path.dirname(__file__), "compiler.py"), encoding="utf-8") as file:
            program = file.read()
        places = [f"{BUILDPACKS_DIR}/{BuildpackId(id_).escaped}/{version}" for id_, version in self._buildpacks]
        return Command(
            argv=("/bin/sh", "-c", 'exec python3 -I -S -B -c "$0" "$@"', program, *places),
            env={"PATH": self._path, "LANG": "C.UTF-8"},
            timeout=_TIME_LIMIT,
        )

    def _made(self, said: bytes | None) -> bool:
        """Whether what the compiler said made a tree, which then is in its place."""
        if not said:
            return False
        try:
            files = _files(said)
        except ValueError as error:
            _LOG.info("what was compiled cannot be used: %s", error)
            return False
        new = f"new/{temporary('compiled')}"
        with Root.open(self._stage) as stage:
            try:
                stage.makedirs(new)
                with stage.sub(new) as root:
                    _write(root, files)
                stage.rename(new, f"{DIRECTORY}/{self._key}")
            finally:
                stage.remove(new)
        return True


def _run(command: Command, sandbox: Sandbox) -> bytes | None:
    """What it writes; None where that is too much, or it failed."""
    said: list[bytes] = []
    size = 0

    def output(stream: Stream, data: bytes) -> None:
        nonlocal size
        if stream == "stdout":
            size += len(data)
            if size <= _OUTPUT_LIMIT:
                said.append(data)
        else:
            _LOG.debug("compiler: %s", data[:1000])

    ended = sandbox.run(command, output)
    # Whatever it started is gone before buildpacks run, and cannot reach into them.
    sandbox.sweep()
    return None if ended.code or ended.error or size > _OUTPUT_LIMIT else b"".join(said)


def _write(root: Root, files: Mapping[str, bytes | str]) -> None:
    links: dict[str, dict[str, str]] = {}
    for place, content in files.items():
        directory, _, name = place.rpartition("/")
        if isinstance(content, str):
            links.setdefault(directory, {})[name] = content
        else:
            root.makedirs(directory)
            root.write(place, content)
    for directory, targets in links.items():
        root.makedirs(directory)
        root.symlinks(directory, targets)


def _files(said: bytes) -> dict[str, bytes | str]:
    """What goes where: the content of a file, or where a link leads in the image.

    Raises ValueError for what the compiler would not say: no place is above another, or outside.
    """
    found: dict[str, bytes | str] = {}
    at = 0
    while at < len(said):
        end = said.index(b"\0", at)
        kind, _, rest = said[at:end].partition(b" ")
        at = end + 1
        length, _, new = rest.partition(b" ") if kind == b"new" else (b"0", b"", rest)
        place, size = os.fsdecode(new), int(length)
        if not _is_plain(place) or not 0 <= size <= len(said) - at or len(found) == _MODULES_LIMIT:
            raise ValueError(f"{place[:200]!r} is not one of the modules")
        if kind == b"new":
            found[place] = said[at : at + size]
        elif kind == b"own":
            directory, _, name = place.rpartition("/")
            found[place] = f"/{directory}/__pycache__/{name}"
        elif kind == b"all":
            found[place] = f"/{place}/__pycache__"
        else:
            raise ValueError(f"{kind[:20]!r} is no kind of entry")
        at += size
    if any(above in found for place in found for above in _above(place)):
        raise ValueError("a module is below another")
    return found


def _is_plain(place: str) -> bool:
    parts = place.split("/")
    return len(parts) > 1 and not {"", ".", ".."} & set(parts)


def _above(place: str) -> Iterator[str]:
    while place := place.rpartition("/")[0]:
        yield place
