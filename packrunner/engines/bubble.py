"""One running bwrap: how it is started, watched and ended.

bwrap reports the pid of the sandbox's first process and, only if that process ever ran, its exit code; its own
failures look like a program's exit 1 otherwise. A pidfd of the first process, which is PID 1 of the sandbox, tells
when everything inside is gone: the kernel ends a pid namespace before its first process can be reaped (SBX-14).
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.engines.bwrap import Plumbing, encode_args
from packrunner.engines.diagnose import read_kernel, start_error
from packrunner.engines.seccomp import seccomp_filter
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.engines.ids import IdMap
    from packrunner.engines.keeper import Keeper

    Entrance = Callable[[list[str]], tuple[list[str], bytes]]

_log = logging.getLogger(__name__)

START_LIMIT = 30.0
_STATUS_LIMIT = 64 << 10
_SAID_LIMIT = 64 << 10


class Bubble:
    """A started bwrap. `stop` must be called, also after errors; it may be called again.

    `interactive` gives it this process's own stdin, stdout and stderr; `inherit` are more descriptors for it. `ids` is
    the map that a workbench's user namespace gets from outside, `entrance` what makes root's bwrap a user's: from
    bwrap's own argv to the program to start instead and what it reads from a descriptor.
    """

    def __init__(
        self,
        bwrap: str,
        arguments: Callable[[Plumbing], Sequence[str]],
        command: Sequence[str],
        *,
        keeper: Keeper,
        interactive: bool = False,
        inherit: tuple[int, ...] = (),
        ids: IdMap | None = None,
        entrance: Entrance | None = None,
    ) -> None:
        self._status = b""
        self._first = self._gate = -1
        self._ids = ids
        self._status_fd, report = os.pipe()
        opened = [report]
        try:
            block = -1
            if ids:
                block, self._gate = os.pipe()
                opened.append(block)
            argv = _Argv(bwrap=bwrap, arguments=arguments, command=command, entrance=entrance, block_fd=block)
            self.child = _start(argv, (report, *inherit), keeper=keeper, interactive=interactive)
        except BaseException:
            for fd in (self._status_fd, self._gate):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in opened:
                os.close(fd)
        self._pidfd = os.pidfd_open(self.child.pid)

    def await_start(self) -> None:
        """Wait until the sandbox's first process exists. Raises EngineError when bwrap failed before."""
        deadline = time.monotonic() + START_LIMIT
        while b"\n" not in self._status:
            if not _readable(self._status_fd, deadline - time.monotonic()):
                raise EngineError(
                    "the sandbox did not start in time", slug="sandbox-failed", tries=("packrunner doctor",)
                )
            if not self._read_status():
                raise self.refused()
        pid = self._record("child-pid")
        # It may have come to its end already; only bwrap's last word tells that from a failure to start.
        if pid is None or (not self._hold(pid) and self.wait(START_LIMIT) and self.exit_code() is None):
            raise self.refused()
        if self._ids and pid is not None:
            self._ids.write(pid)
            os.write(self._gate, b"1")

    def refused(self) -> EngineError:
        """Why bwrap did not start the sandbox."""
        self.wait(2.0)
        return start_error(self.said(), read_kernel())

    def said(self) -> str:
        """What was written to stderr so far, in part if it is long; nothing when stderr is the user's."""
        if not self.child.stderr or self.child.stderr.closed:
            return ""
        os.set_blocking(self.child.stderr.fileno(), False)
        try:
            return os.read(self.child.stderr.fileno(), _SAID_LIMIT).decode(errors="replace")
        except BlockingIOError:
            return ""

    def signal(self, number: int) -> None:
        """Send a signal to the sandbox's first process; nothing happens when it is gone."""
        try:
            if self._first >= 0:
                signal.pidfd_send_signal(self._first, number)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        """End the sandbox now; from any thread, any number of times."""
        self.child.kill()
        self.signal(signal.SIGKILL)

    def wait(self, limit: float | None = None) -> bool:
        """Wait for bwrap to end; false when it has not."""
        if self._pidfd >= 0 and not _readable(self._pidfd, limit):
            return False
        self.child.wait()
        return True

    def exit_code(self) -> int | None:
        """The first process's exit code once bwrap has ended; None when it never ran."""
        while self._status_fd >= 0 and _readable(self._status_fd, 0) and self._read_status():
            pass
        return self._record("exit-code")

    def stop(self, grace: float) -> None:
        """Give it `grace` seconds to end, kill it, and return when nothing of it is left."""
        try:
            if not self.wait(grace):
                self.kill()
                self.wait()
            if self._first >= 0 and not _readable(self._first, 10.0):
                _log.warning("process %d of the sandbox cannot be killed", self.child.pid)
        except BaseException:
            # A second Ctrl-C: no more waiting, but nothing survives either.
            self.kill()
            raise
        finally:
            self._close()

    def _close(self) -> None:
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream:
                stream.close()
        for fd in (self._status_fd, self._first, self._pidfd, self._gate):
            if fd >= 0:
                os.close(fd)
        self._status_fd = self._first = self._pidfd = self._gate = -1

    def _read_status(self) -> bool:
        data = os.read(self._status_fd, 4096)
        self._status += data
        return bool(data) and len(self._status) < _STATUS_LIMIT

    def _record(self, name: str) -> int | None:
        for line in self._status.splitlines():
            record = json.loads(line)
            if name in record:
                return int(record[name])
        return None

    def _hold(self, pid: int) -> bool:
        """Hold the first process by a descriptor, which no other process can ever take over."""
        try:
            held = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        # Between bwrap's report and now the process may have ended, and its number been given away.
        if _parent(pid) != self.child.pid:
            os.close(held)
            return False
        self._first = held
        return True


class _Argv(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the argv of a process that is, or becomes, bwrap; `block_fd` is -1 for ids that it maps itself."""

    bwrap: str
    arguments: Callable[[Plumbing], Sequence[str]]
    command: Sequence[str]
    entrance: Entrance | None
    block_fd: int

    def make(self, status_fd: int, opened: list[int]) -> list[str]:
        """The argv; descriptors that it names are added to `opened`."""
        opened += [_sealed("seccomp", seccomp_filter()), os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)]
        plumbing = Plumbing(status_fd=status_fd, seccomp_fd=opened[0], block_fd=self.block_fd, null_fd=opened[1])
        opened.append(_sealed("arguments", encode_args(self.arguments(plumbing))))
        # Everything that is said about the sandbox goes through a descriptor: no path and no variable can be taken
        # for an option (SBX-40), nor be read in the list of processes.
        argv = [self.bwrap, "--args", str(opened[-1]), "--", *self.command]
        if self.entrance:
            program, content = self.entrance(argv)
            opened.append(_sealed("entrance", content))
            argv = [*program, str(opened[-1])]
        return argv


def _start(argv: _Argv, inherit: tuple[int, ...], *, keeper: Keeper, interactive: bool) -> subprocess.Popen[bytes]:
    opened: list[int] = []
    try:
        words = argv.make(inherit[0], opened)
        passed = (*inherit, *opened, *((argv.block_fd,) if argv.block_fd >= 0 else ()))
        pipe = None if interactive else subprocess.PIPE
        return keeper.start(
            lambda: subprocess.Popen(
                words,
                env={},
                cwd="/",
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                pass_fds=passed,
                # Ctrl-C at the terminal is packrunner's to answer (PRO-04).
                start_new_session=True,
                umask=0o022,
            )
        )
    finally:
        for fd in opened:
            os.close(fd)


def _sealed(name: str, content: bytes) -> int:
    """A descriptor to read `content` from, without a file that anyone could name."""
    fd = os.memfd_create(f"packrunner-{name}")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _readable(fd: int, limit: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if limit is None else max(0, int(limit * 1000))))


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in brackets may hold anything; the parent is the second field after the last bracket.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
