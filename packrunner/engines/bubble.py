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

from packrunner.engines.bwrap import Plumbing, encode_args
from packrunner.engines.diagnose import read_kernel, start_error
from packrunner.engines.seccomp import seccomp_filter
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.engines.keeper import Keeper

_log = logging.getLogger(__name__)

START_LIMIT = 30.0
_STATUS_LIMIT = 64 << 10
_SAID_LIMIT = 64 << 10


class Bubble:
    """A started bwrap. `stop` must be called, also after errors; it may be called again.

    `interactive` gives it this process's own stdin, stdout and stderr; `inherit` are more descriptors for it.
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
    ) -> None:
        self._status = b""
        self._first = -1
        self._status_fd, report = os.pipe()
        try:
            self.child = _start(bwrap, arguments, command, (report, *inherit), keeper=keeper, interactive=interactive)
        except BaseException:
            os.close(self._status_fd)
            raise
        finally:
            os.close(report)
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
        for fd in (self._status_fd, self._first, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._status_fd = self._first = self._pidfd = -1

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


def _start(
    bwrap: str,
    arguments: Callable[[Plumbing], Sequence[str]],
    command: Sequence[str],
    inherit: tuple[int, ...],
    *,
    keeper: Keeper,
    interactive: bool,
) -> subprocess.Popen[bytes]:
    opened: list[int] = []
    try:
        opened.append(_sealed("seccomp", seccomp_filter()))
        plumbing = Plumbing(status_fd=inherit[0], seccomp_fd=opened[0])
        opened.append(_sealed("arguments", encode_args(arguments(plumbing))))
        pipe = None if interactive else subprocess.PIPE
        return keeper.start(
            lambda: subprocess.Popen(
                # Everything that is said about the sandbox goes through a descriptor: no path and no variable can
                # be taken for an option (SBX-40), nor be read in the list of processes.
                [bwrap, "--args", str(opened[1]), "--", *command],
                env={},
                cwd="/",
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                pass_fds=(*inherit, *opened),
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
