"""The protocol client against an agent that does what each test tells it, mostly wrong."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner.engines.agent import AgentClient
from packrunner.engines.base import Command, Exit
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELLO = json.dumps({"protocol": 2, "uid": 1000, "gid": 1000}).encode()


def frame(kind: bytes, run: int = 0, payload: bytes = b"") -> bytes:
    """A frame by another hand than the client's."""
    return kind + struct.pack(">II", run, len(payload)) + payload


def exit_frame(run: int, code: int = 0, **more: Any) -> bytes:
    return frame(b"X", run, json.dumps({"code": code, "signal": 0, "error": "", "timed_out": False, **more}).encode())


class FakeAgent:
    """The other end: what the host sent, and a way to answer."""

    def __init__(self) -> None:
        self.from_host, self.to_agent = os.pipe()
        self.from_agent, self.to_host = os.pipe()
        self.requests = os.fdopen(self.from_host, "rb")
        self.killed = threading.Event()

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.to_host, data) :]

    def hear(self) -> tuple[bytes, int, bytes]:
        """The host's next frame."""
        header = self.requests.read(9)
        if not header:
            return b"", 0, b""
        run, size = struct.unpack(">II", header[1:])
        return header[:1], run, self.requests.read(size)

    def end(self) -> None:
        if self.to_host >= 0:
            os.close(self.to_host)
            self.to_host = -1

    def kill(self) -> None:
        self.killed.set()

    def close(self) -> None:
        self.end()
        self.requests.close()
        os.close(self.from_agent)


def died() -> EngineError:
    return EngineError("the sandbox ended", slug="sandbox-died")


@contextmanager
def talking(
    behave: Callable[[FakeAgent], None], *, greet: bytes = frame(b"H", 0, HELLO)
) -> Iterator[tuple[AgentClient, FakeAgent]]:
    """A client, and an agent that greets and then behaves."""
    agent = FakeAgent()
    client = AgentClient(agent.to_agent, agent.from_agent, kill=agent.kill, explain_end=died)

    def work() -> None:
        agent.say(greet)
        behave(agent)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield client, agent
    finally:
        os.close(agent.to_agent)
        thread.join(10)
        assert not thread.is_alive()
        agent.end()
        assert client.join(10)
        agent.close()


def command(*argv: str, **more: Any) -> Command:
    return Command(argv=argv or ("/bin/true",), env={}, **more)


def nothing(*_: object) -> None:
    return


def listen(agent: FakeAgent) -> None:
    """Read what the host sends, and say nothing."""
    while agent.hear()[0]:
        pass


def answering(
    *frames: Callable[[int], bytes] | bytes, then: Callable[[FakeAgent], None] = listen
) -> Callable[[FakeAgent], None]:
    """Answer the first request with frames, some of which want its run's number."""

    def behave(agent: FakeAgent) -> None:
        _, run, _ = agent.hear()
        for answer in frames:
            agent.say(answer if isinstance(answer, bytes) else answer(run))
        then(agent)

    return behave


def failure(behave: Callable[[FakeAgent], None], **more: Any) -> EngineError:
    """The error of a run against this agent, which must have been killed for it."""
    with talking(behave, **more) as (client, agent):
        with pytest.raises(EngineError) as caught:
            client.run(command(), nothing)
        assert agent.killed.wait(5)
        with pytest.raises(EngineError) as again:
            client.run(command(), nothing)
        assert again.value.slug == caught.value.slug
    return caught.value


def test_a_request_says_everything_and_bytes_survive() -> None:
    seen: list[tuple[bytes, int, bytes]] = []

    def behave(agent: FakeAgent) -> None:
        seen.append(agent.hear())
        agent.say(exit_frame(seen[0][1], 3))
        listen(agent)

    asked = Command(argv=("/bin/x", "a b\n", "\udcff"), env={"A": "1", "B": "ü"}, cwd="/w", timeout=1.5)
    with talking(behave) as (client, _):
        assert client.hello().uid == 1000
        assert client.run(asked, nothing) == Exit(code=3)
    kind, _, payload = seen[0]
    assert kind == b"R"
    assert payload.isascii()
    assert json.loads(payload) == {
        "argv": ["/bin/x", "a b\n", "\udcff"],
        "env": ["A=1", "B=ü"],
        "cwd": "/w",
        "timeout_ms": 1500,
    }


def test_output_arrives_before_the_end() -> None:
    got: list[tuple[str, bytes]] = []
    behave = answering(lambda run: frame(b"O", run, b"one"), lambda run: frame(b"E", run, b"\xff\0"), exit_frame)
    with talking(behave) as (client, _):
        client.run(command(), lambda stream, data: got.append((stream, data)))
    assert got == [("stdout", b"one"), ("stderr", b"\xff\0")]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"code": 137, "signal": 9}, Exit(code=137, signal=9)),
        ({"code": 127, "error": "no such program"}, Exit(code=127, error="no such program")),
        ({"code": 143, "signal": 15, "timed_out": True}, Exit(code=143, signal=15, timed_out=True)),
        ({"code": 255}, Exit(code=255)),
    ],
)
def test_ends(reply: dict[str, Any], expected: Exit) -> None:
    with talking(answering(lambda run: exit_frame(run, **reply))) as (client, _):
        assert client.run(command(), nothing) == expected


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda run: b"Z" + struct.pack(">II", run, 0), id="unknown kind"),
        pytest.param(lambda run: b"\0" * 9, id="zeros"),
        pytest.param(lambda run: b"O" + struct.pack(">II", run, 2**32 - 1), id="4 GiB of output"),
        pytest.param(lambda run: b"O" + struct.pack(">II", run, (64 << 10) + 1), id="a byte too much"),
        pytest.param(lambda run: b"X" + struct.pack(">II", run, 1 << 30), id="1 GiB of exit"),
        pytest.param(lambda run: frame(b"O", run + 1, b"x"), id="output of another run"),
        pytest.param(lambda run: exit_frame(run + 1), id="exit of another run"),
        pytest.param(lambda run: exit_frame(0), id="exit of no run"),
        pytest.param(lambda run: frame(b"X", run), id="empty exit"),
        pytest.param(lambda run: frame(b"X", run, b"{}"), id="exit without a code"),
        pytest.param(lambda run: frame(b"X", run, b'{"code":"0"}'), id="exit code of text"),
        pytest.param(lambda run: frame(b"X", run, b'{"code":0}x'), id="more than one value"),
        pytest.param(lambda run: frame(b"X", run, b'{"code":0,"extra":1}'), id="unknown field"),
        pytest.param(lambda run: frame(b"X", run, b"[" * 60_000), id="deep nesting"),
        pytest.param(lambda run: frame(b"X", run, b'{"code":0,"error":"\xff"}'), id="no text"),
        pytest.param(lambda run: exit_frame(run, 256), id="code too large"),
        pytest.param(lambda run: exit_frame(run, -1), id="code below zero"),
        pytest.param(lambda run: exit_frame(run, 2**70), id="code of many digits"),
        pytest.param(lambda run: exit_frame(run, 0, signal=9), id="killed with success"),
        pytest.param(lambda run: exit_frame(run, 0, error="not started"), id="not started with success"),
        pytest.param(lambda run: frame(b"D", run), id="a sweep nobody asked for"),
        pytest.param(lambda run: frame(b"D", run, b"x"), id="done with a payload"),
        pytest.param(lambda run: frame(b"H", 0, HELLO), id="a second greeting"),
        pytest.param(lambda run: frame(b"R", run, b"{}"), id="a request from the agent"),
        pytest.param(lambda run: frame(b"F", 0, b"x"), id="fatal without a reason"),
    ],
)
def test_a_breach_of_the_protocol_is_an_error_and_kills(answer: Callable[[int], bytes]) -> None:
    assert failure(answering(answer)).slug == "sandbox-protocol"


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize(
    "greeting",
    [
        exit_frame(1),
        frame(b"O", 1, b"x"),
        frame(b"D"),
        frame(b"H", 0, b'{"protocol":3,"uid":1000,"gid":1000}'),
        frame(b"H", 0, b"{}"),
        frame(b"H", 0, b" " * 5000),
        b"bwrap: something went wrong\n",
    ],
)
def test_what_comes_before_the_greeting(greeting: bytes) -> None:
    with talking(listen, greet=greeting) as (client, agent):
        with pytest.raises(EngineError) as caught:
            client.hello(5)
        assert caught.value.slug == "sandbox-protocol"
        assert agent.killed.is_set()


def test_a_greeting_that_does_not_come() -> None:
    with talking(listen, greet=b"") as (client, agent):
        with pytest.raises(EngineError) as caught:
            client.hello(0.1)
        assert caught.value.slug == "sandbox-protocol"
        assert agent.killed.is_set()


@pytest.mark.fault("SBX-28")
def test_a_second_end_of_the_same_run() -> None:
    behave = answering(lambda run: exit_frame(run) + exit_frame(run))
    with talking(behave) as (client, agent):
        # Whether the first end is still believed is a matter of microseconds; afterwards nothing is.
        with suppress(EngineError):
            assert client.run(command(), nothing) == Exit(code=0)
        assert agent.killed.wait(5)
        with pytest.raises(EngineError) as caught:
            client.run(command(), nothing)
        assert caught.value.slug == "sandbox-protocol"


@pytest.mark.fault("SBX-28")
@pytest.mark.fault("SBX-29")
@pytest.mark.parametrize("length", range(len(frame(b"O", 1, b"out") + exit_frame(1))))
def test_a_stream_cut_at_every_byte_is_never_a_success(length: int) -> None:
    def behave(agent: FakeAgent) -> None:
        _, run, _ = agent.hear()
        agent.say((frame(b"O", run, b"out") + exit_frame(run))[:length])
        agent.end()
        listen(agent)

    whole = length in {0, len(frame(b"O", 1, b"out"))}
    assert failure(behave).slug == ("sandbox-died" if whole else "sandbox-protocol")


@pytest.mark.fault("SBX-29")
def test_an_agent_that_gives_up_says_why() -> None:
    error = failure(answering(frame(b"F", 0, b'{"error":"fork: out of memory"}')))
    assert error.slug == "sandbox-failed"
    assert error.cause == "fork: out of memory"


@pytest.mark.fault("SBX-28")
@settings(max_examples=60, deadline=None, database=None)
@given(st.binary(max_size=64))
def test_no_noise_is_a_success(noise: bytes) -> None:
    agent = FakeAgent()
    client = AgentClient(agent.to_agent, agent.from_agent, kill=agent.kill, explain_end=died)
    try:
        agent.say(frame(b"H", 0, HELLO) + noise)
        agent.end()
        with pytest.raises(EngineError):
            client.run(command(), nothing)
    finally:
        assert client.join(10)
        os.close(agent.to_agent)
        agent.close()


@pytest.mark.parametrize(("env", "argv"), [({"A=B": ""}, ("/x",)), ({"": ""}, ("/x",)), ({}, ())])
def test_what_cannot_be_asked_is_an_end_and_not_a_breach(env: dict[str, str], argv: tuple[str, ...]) -> None:
    with talking(listen) as (client, agent):
        ended = client.run(Command(argv=argv, env=env), nothing)
        assert ended.code == 126
        assert ended.error
        assert not agent.killed.is_set()


def test_a_request_that_is_too_large_is_an_end_with_a_reason() -> None:
    with talking(listen) as (client, agent):
        ended = client.run(Command(argv=("/x", "y" * (1 << 20)), env={}), nothing)
        assert ended.code == 126
        assert "1048576 are allowed" in str(ended.error)
        assert not agent.killed.is_set()


def test_no_more_run_at_once_than_there_are_processors_and_ends_keep_their_order() -> None:
    most, now = 0, 0

    def behave(agent: FakeAgent) -> None:
        nonlocal most, now
        waiting: list[int] = []
        for _ in range(9):
            waiting.append(agent.hear()[1])
            most = max(most, len(waiting))
            if len(waiting) == 3:
                # The last begun ends first.
                for run in reversed(waiting):
                    agent.say(exit_frame(run, run))
                waiting.clear()
        listen(agent)

    with talking(behave) as (client, _):
        exits = client.run_all([(command(), nothing)] * 9, at_once=3)
    assert [ended.code for ended in exits] == list(range(1, 10))
    assert most == 3


def test_sweeps_are_answered_by_number() -> None:
    def behave(agent: FakeAgent) -> None:
        for _ in range(2):
            kind, number, payload = agent.hear()
            assert (kind, payload) == (b"S", b"")
            agent.say(frame(b"D", number))
        listen(agent)

    with talking(behave) as (client, _):
        client.sweep()
        client.sweep()


def test_a_failing_sink_cancels_its_command() -> None:
    heard: list[tuple[bytes, bytes]] = []

    def behave(agent: FakeAgent) -> None:
        _, run, _ = agent.hear()
        agent.say(frame(b"O", run, b"x") + frame(b"O", run, b"y"))
        kind, _, payload = agent.hear()
        heard.append((kind, payload))
        agent.say(exit_frame(run, 143, signal=15))
        listen(agent)

    def full(_: str, data: bytes) -> None:
        raise OSError(28, "full")

    with talking(behave) as (client, agent):
        with pytest.raises(OSError, match="full"):
            client.run(command(), full)
        assert heard == [(b"K", b'{"signal":15}')]
        assert not agent.killed.is_set()


@pytest.mark.fault("PRO-03")
def test_a_command_that_ignores_the_request_to_end_costs_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packrunner.engines.agent.GRACE", 0.2)

    def stop(_: str, data: bytes) -> None:
        raise RuntimeError("stop")

    with talking(answering(lambda run: frame(b"O", run, b"x"))) as (client, agent):
        with pytest.raises(RuntimeError, match="stop"):
            client.run(command(), stop)
        assert agent.killed.is_set()


def test_an_end_that_is_overdue_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packrunner.engines.agent._LATE", 0.1)
    began = time.monotonic()
    with talking(listen) as (client, agent):
        with pytest.raises(EngineError) as caught:
            client.run(command(timeout=0.1), nothing)
        assert caught.value.slug == "sandbox-protocol"
        assert agent.killed.is_set()
    assert time.monotonic() - began < 30


def test_quitting_is_a_frame_and_no_error_when_nobody_reads() -> None:
    heard: list[bytes] = []
    with talking(lambda agent: heard.append(agent.hear()[0])) as (client, _):
        client.quit()
    assert heard == [b"Q"]
