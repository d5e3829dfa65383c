"""A writable place on both sides: a directory of this host and a volume in the container, made equal by what differs.

Each side's state is known from the last time that they were equal, also in earlier builds; only what a fingerprint says
is new moves, and what is gone is removed. What comes from the container is hostile: it is unpacked by the extractor
for hostile archives, and removed through descriptors.

An overlay's host side is two trees: sent is the lower one less what the upper one hides, and what comes back lands in
the upper one, in the overlay file system's own form, so that who reads it need not know.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from packrunner import fingerprint
from packrunner.confined import Root, write_atomic
from packrunner.disk import disk_error
from packrunner.engines.base import Command, Mount, Overlay
from packrunner.engines.docker import hostfiles, tables
from packrunner.engines.skeleton import AGENT
from packrunner.errors import EngineError
from packrunner.images.extract import extract
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from packrunner.engines.agent import AgentClient
    from packrunner.engines.base import Exit, OutputSink, Stream
    from packrunner.engines.docker.tables import Lines

_TABLE_LIMIT = 512 << 20
_LENGTH = 4


class Twin:
    """One place; `record` is the file that keeps what is known of it, `owner` who gets what comes to this host."""

    def __init__(self, place: Mount | Overlay, record: str, *, owner: tuple[int, int] | None) -> None:
        self.target = place.target
        self._overlay = place if isinstance(place, Overlay) else None
        self._source = place.lower if isinstance(place, Overlay) else place.source
        self._writes = place.upper if isinstance(place, Overlay) else place.source
        self._record = record
        self._owner = owner
        self._host: Lines = {}
        self._inside: Lines = {}
        self._others: set[bytes] = set()
        """Paths inside of which nothing is known but that they are there."""

    @property
    def mode(self) -> int:
        """Permissions of the place's top."""
        return stat.S_IMODE(os.stat(self._writes).st_mode)

    def meet(self, client: AgentClient) -> None:
        """Begin: what is inside is looked at, and what is not as it was left is not known any more."""
        command = self._command("scan")
        now = tables.lines(self._tool(lambda sink: client.run(command, sink)))
        with contextlib.suppress(OSError), open(self._record, "rb") as file:
            self._host, self._inside = tables.decode(file.read(_TABLE_LIMIT))
        self._inside = {path: facts for path, facts in self._inside.items() if now.get(path) == facts}
        self._others = set(now) - set(self._inside)

    def send(self, client: AgentClient) -> None:
        """Make the inside equal to this host."""
        now = self._on_host()
        known = {path: self._host[path] for path in self._inside}
        change = tables.change(known, now, (*self._inside, *self._others))
        if change.is_empty:
            return
        removed = b"".join(path + b"\0" for path in change.gone)
        plain = [path for path in change.fresh if tables.is_plain(now[path])]
        # Also of what is removed: the agent may have to open the directory that it is in.
        above = [path.rpartition(b"/")[0] for path in change.gone]
        paths = tables.with_parents([*plain, *(path for path in above if path in now)])

        def stream() -> Iterable[bytes]:
            yield len(removed).to_bytes(_LENGTH, "big") + removed
            yield from hostfiles.gathered(hostfiles.pack(self._source, paths))

        table = self._tool(lambda sink: client.feed(self._command("unpack"), stream(), sink))
        gone = [path for path in self._inside if any(tables.below(path, top) for top in change.gone)]
        for path in gone:
            del self._inside[path]
        self._others.clear()
        self._inside |= tables.lines(table)
        self._host = now

    def fetch(self, client: AgentClient, place: str = "") -> None:
        """Make this host equal to the inside, at a path below the target; the sandbox has been swept."""
        where = os.fsencode(place)
        command = self._command("scan", *((place,) if place else ()))
        now = tables.lines(self._tool(lambda sink: client.run(command, sink)))
        change = tables.change(self._inside, now, (*self._inside, *self._others), where)
        if not where and b"" in now:
            self._match_top(tables.mode(now[b""]))
        if change.is_empty:
            return
        self._take_away(change.gone, now)
        special = [path for path in change.fresh if not tables.is_plain(now[path])]
        wanted = tables.with_parents(path for path in change.fresh if tables.is_plain(now[path]))
        if wanted:
            self._unpack(client, wanted)
        self._make_special(special, now)
        self._learn(change, now)

    def keep(self) -> None:
        """Remember what is known for the next build; without it everything is sent again."""
        write_atomic(self._record, tables.encode(self._host, self._inside))

    def forget(self) -> None:
        """What is inside is not known any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._record)

    def _on_host(self) -> Lines:
        try:
            found = tables.lines(fingerprint.scan(self._source))
            hidden = self._hidden()
        except OSError as e:
            raise disk_error(e, self._source) from e
        if hidden:
            found = {path: f for path, f in found.items() if not any(tables.below(path, top) for top in hidden)}
        found.pop(b"", None)
        return found

    def _hidden(self) -> list[bytes]:
        """What whiteouts that were in the upper tree before the sandbox was opened hide."""
        if self._overlay is None:
            return []
        upper = tables.lines(fingerprint.scan(self._overlay.upper))
        return [path for path, facts in upper.items() if stat.S_ISCHR(tables.mode(facts))]

    def _command(self, mode: str, *words: str) -> Command:
        return Command(argv=(AGENT, mode, "--", self.target, *words), env={})

    def _tool(self, run: Callable[[OutputSink], Exit], *, into: Callable[[bytes], object] | None = None) -> bytes:
        """Run one of the agent's tools; what it wrote, unless that went elsewhere."""
        output, said = bytearray(), bytearray()

        def sink(stream: Stream, data: bytes) -> None:
            if stream == "stderr":
                said.extend(data[: 4096 - len(said)])
            elif into:
                into(data)
            elif len(output) + len(data) > _TABLE_LIMIT:
                raise self._failed("it has too many files")
            else:
                output.extend(data)

        ended = run(sink)
        if ended.code or ended.error:
            raise self._failed(ended.error or said.decode(errors="replace").strip() or f"it ended with {ended.code}")
        return bytes(output)

    def _failed(self, cause: str) -> EngineError:
        return EngineError(
            f"{self.target} could not be moved between this host and the container",
            slug="docker-transfer",
            cause=cause.removeprefix("packrunner agent: ")[:1000],
            at=self.target,
            tries=("docker system df, where its disk is full",),
        )

    def _unpack(self, client: AgentClient, paths: list[bytes]) -> None:
        """Have the paths packed inside and unpack them here, at the same time."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        failure: list[BaseException] = []

        def pack() -> None:
            try:
                command = self._command("pack")
                self._tool(
                    lambda sink: client.feed(command, [b"".join(path + b"\0" for path in paths)], sink),
                    into=lambda data: _write(writer, data),
                )
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that unpacks
                failure.append(error)
            finally:
                os.close(writer)

        thread = Worker(pack, "docker-fetch")
        thread.start()
        try:
            with open(reader, "rb", buffering=0) as stream:
                extract(stream, self._writes, uid_gid=self._owner, whiteouts="reject")
        except BaseException as error:
            thread.wait()
            # An archive that was cut is only what followed from it; a stop is not.
            if isinstance(error, Exception) and failure and not isinstance(failure[0], BrokenPipeError):
                raise failure[0] from None
            raise
        thread.wait()
        if failure:
            raise failure[0]

    def _take_away(self, paths: list[bytes], now: Lines) -> None:
        with Root.open(self._writes) as root:
            for path in paths:
                root.remove(os.fsdecode(path))
                if self._overlay and path in self._host:
                    self._node(root, path, stat.S_IFCHR, now)

    def _make_special(self, paths: list[bytes], now: Lines) -> None:
        """FIFOs and sockets as they are inside: what an image cannot hold is refused by whoever makes it."""
        with Root.open(self._writes) as root:
            for path in paths:
                kind = stat.S_IFMT(tables.mode(now[path]))
                if kind in {stat.S_IFIFO, stat.S_IFSOCK}:
                    self._node(root, path, kind, now)

    def _node(self, root: Root, path: bytes, kind: int, now: Lines) -> None:
        for above in tables.with_parents([path])[:-1]:
            root.makedirs(os.fsdecode(above), mode=stat.S_IMODE(tables.mode(now[above])), owner=self._owner)
        root.node(os.fsdecode(path), kind, owner=self._owner)

    def _match_top(self, mode: int) -> None:
        fd = os.open(self._writes, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_IMODE(os.fstat(fd).st_mode) != stat.S_IMODE(mode):
                os.fchmod(fd, stat.S_IMODE(mode))
        finally:
            os.close(fd)

    def _learn(self, change: tables.Change, now: Lines) -> None:
        if self._overlay:
            return  # what is inside differs from what is known, and so the next build makes it the lower tree's again
        for path in [p for p in self._inside if any(tables.below(p, top) for top in change.gone)]:
            del self._inside[path]
        self._inside |= {path: now[path] for path in change.fresh}
        self._host = self._on_host()
        self._inside = {path: facts for path, facts in self._inside.items() if path in self._host}


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
