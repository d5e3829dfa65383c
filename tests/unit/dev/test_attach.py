"""The way into a running application, against a stand-in for the reloader that speaks its protocol."""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.dev import attachment
from packrunner.dev.attach import Attachment
from packrunner.dev.attachment import Event, Reader
from packrunner.dev.changes import Change
from packrunner.engines.base import Exit, OutputSink
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Reloader:
    """Reads requests as the real one does, and keeps files in a dictionary; the request numbered `died` ends it."""

    def __init__(self, *, died: int = 0) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[dict[str, Any]] = []
        self.died = died

    def feed(self, stdin: Iterable[bytes], output: OutputSink, ended: Callable[[], object]) -> Exit:
        def say(**event: object) -> None:
            output("stdout", json.dumps(event).encode() + b"\n")

        say(event="hello", version=1, app="/workspace", processes=["web"])
        data = Stream(stdin)
        while line := data.line():
            request = json.loads(line)
            self.requests.append(request)
            if request["id"] == self.died:
                output("stderr", b"no memory\n")
                ended()
                return Exit(code=9)
            for change in request.get("changes", ()):
                if change["kind"] == "file":
                    self.files[change["path"]] = data.take(change["size"])
                elif change["kind"] == "gone":
                    self.files.pop(change["path"], None)
            say(event="copied", id=request["id"], failed=[], news="unknown keys are ignored")
            say(event="done", id=request["id"], action="sync", self=[], restarted=[])
        ended()
        return Exit(code=0)


class Stream:
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts, self._data = iter(parts), b""

    def line(self) -> bytes:
        while b"\n" not in self._data:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._data += part
        line, _, self._data = self._data.partition(b"\n")
        return line

    def take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._data += next(self._parts)
        taken, self._data = self._data[:size], self._data[size:]
        return taken


class Parcel:
    """Changes whose files hold their own path, `times` over."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = tuple(changes)

    def pieces(self) -> Iterator[bytes]:
        for change in self.changes:
            if change.kind == "file":
                yield content(change)


def content(change: Change) -> bytes:
    return (change.path.encode() * (change.size + 1))[: change.size]


class Conversation:
    def __init__(self, reloader: Reloader) -> None:
        self.heard: queue.Queue[Event] = queue.Queue()
        self.lost: queue.Queue[EngineError] = queue.Queue()
        self.attachment = Attachment(reloader.feed, parcel=Parcel, heard=self.heard.put, lost=self.lost.put)

    def until_done(self, number: int) -> None:
        while True:
            event = self.heard.get(timeout=10)
            if isinstance(event, attachment.Done) and event.id == number:
                return


def test_changes_arrive_with_their_bytes_and_in_order() -> None:
    reloader = Reloader()
    talk = Conversation(reloader)
    changes = [Change(path=f"f{i}", kind="file", size=i * 1000, mode=0o644, mtime_ns=5) for i in range(300)]
    talk.attachment.send(changes)
    last = talk.attachment.send([Change(path="f7", kind="gone"), Change(path="l", kind="link", target="f8")])
    talk.until_done(last)
    talk.attachment.close()
    assert reloader.files == {change.path: content(change) for change in changes if change.path != "f7"}
    assert reloader.requests[0]["changes"][1] == {
        "path": "f1",
        "kind": "file",
        "mode": 0o644,
        "size": 1000,
        "mtime_ns": 5,
    }
    assert reloader.requests[1]["changes"] == [
        {"path": "f7", "kind": "gone"},
        {"path": "l", "kind": "link", "target": "f8"},
    ]
    assert reloader.requests[1]["dest"] == ""
    assert talk.lost.empty()


def test_processes_are_restarted_and_the_manifest_asked_for() -> None:
    reloader = Reloader()
    talk = Conversation(reloader)
    talk.attachment.restart(["web"])
    talk.until_done(talk.attachment.manifest())
    talk.attachment.close()
    assert reloader.requests == [{"id": 1, "restart": ["web"]}, {"id": 2, "manifest": True}]


def test_an_end_that_nobody_asked_for_is_told_with_its_last_words() -> None:
    talk = Conversation(Reloader(died=2))
    talk.until_done(talk.attachment.send([]))
    talk.attachment.send([])
    error = talk.lost.get(timeout=10)
    assert (error.slug, error.cause, error.foreign) == ("reloader-ended", "it ended with 9", ("no memory",))
    talk.attachment.close()


def test_a_broken_place_is_told() -> None:
    def feed(stdin: Iterable[bytes], output: OutputSink, ended: Callable[[], object]) -> Exit:
        raise EngineError("gone", slug="sandbox-died")

    lost: queue.Queue[EngineError] = queue.Queue()
    Attachment(feed, parcel=Parcel, heard=lambda _: None, lost=lost.put)
    assert lost.get(timeout=10).slug == "sandbox-died"


def test_requests_are_made_into_bytes_when_it_is_their_turn() -> None:
    """A slow application slows nobody but itself."""
    turn = threading.Event()
    made: list[int] = []

    def feed(stdin: Iterable[bytes], output: OutputSink, ended: Callable[[], object]) -> Exit:
        assert turn.wait(10)
        for _ in stdin:
            pass
        return Exit(code=0)

    def parcel(changes: Sequence[Change]) -> Parcel:
        made.append(len(changes))
        return Parcel(changes)

    talk = Attachment(feed, parcel=parcel, heard=lambda _: None, lost=lambda _: None)
    talk.send([Change(path="a", kind="gone")])
    assert made == []
    turn.set()
    talk.close()
    assert made == [1]


def read(*parts: bytes) -> list[Event]:
    reader = Reader()
    return [event for part in parts for event in reader.feed(part)]


def test_lines_may_be_cut_anywhere() -> None:
    line = b'{"event":"crash","process":"web","code":1,"signal":0}\n'
    crash = attachment.Crash(process="web", code=1)
    assert read(line[:20], line[20:] + line) == [crash, crash]


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b'{"event":"other"}\n',
        b'{"event":"up","process":7}\n',
        b'{"event":"hello","version":2}\n',
        b"[" * 100_000 + b"\n",
        b'{"event":"up","process":"\xff"}\n',
    ],
)
def test_what_is_not_of_the_protocol_is_refused(line: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        read(line)
    assert caught.value.slug == "sandbox-protocol"


@pytest.mark.fault("SBX-28")
def test_a_line_has_an_end() -> None:
    with pytest.raises(EngineError):
        read(*[b"x" * (1 << 20)] * 5)


def test_names_that_are_not_utf8_travel_as_lone_surrogates() -> None:
    line = attachment.changes(1, [Change(path="a\udcff", kind="gone")])
    assert line.isascii()
    assert json.loads(line)["changes"][0]["path"] == "a\udcff"
