"""Sandboxes that are none: programs run on this machine as they are, or in this very process."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, cast

from packrunner import process
from packrunner.engines.base import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from packrunner.engines.base import Command, OutputSink, Stream

_TRUST = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "PIP_FIND_LINKS", "PIP_INDEX_URL"),
    *("UV_DEFAULT_INDEX", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What decides how a developer's machine reaches package indexes."""


class Here:
    """Programs on this machine: a test takes milliseconds, and they see all that their user sees."""

    shared = True

    def __init__(self, environ: Mapping[str, str], *, without: str = "") -> None:
        """`without` is a directory that is removed before each program."""
        self._without = without
        self.trust_env: Mapping[str, str] = {name: environ[name] for name in _TRUST if name in environ}

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end."""
        if self._without:
            shutil.rmtree(self._without, ignore_errors=True)
        return self._run(command, output)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        """Run commands, one after another."""
        return [self.run(command, output) for command, output in commands]

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        """Run one command that reads `stdin`."""
        found = self._run(command, output, b"".join(stdin))
        if ended:
            ended()
        return found

    def end(self, limit: float) -> None:
        """Nothing runs between calls."""

    def sweep(self) -> None:
        """What a program leaves running is its author's to end: these processes are not ours alone."""

    def send(self, *targets: str) -> None:
        """There is one side only."""

    def fetch(self, *targets: str) -> None:
        """There is one side only."""

    def _run(self, command: Command, output: OutputSink, stdin: bytes = b"") -> Exit:
        ended = process.run(
            command.argv, env=command.env, cwd=command.cwd, output=output, stdin=stdin, timeout=command.timeout
        )
        return Exit(code=ended.code, signal=ended.signal, error=ended.error, timed_out=ended.timed_out)


class InProcess(Here):
    """Python programs in this process, from the buildpack's own directory: breakpoints hold, coverage counts.

    `calls` are functions to run in place of a program, by its name. Else it is `bin/<name>.py`, where bin/<name> has
    one beside it, or bin/<name> itself if that is Python. What is no Python runs as a program.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        source: str,
        calls: Mapping[str, Callable[[], object]],
        *,
        without: str = "",
    ) -> None:
        super().__init__(environ, without=without)
        self._source = source
        self._calls = calls

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command; an exception that it does not catch is the test's."""
        name = os.path.basename(command.argv[0])
        script = self._script(name)
        if name not in self._calls and script is None:
            return super().run(command, output)
        if self._without:
            shutil.rmtree(self._without, ignore_errors=True)
        call = self._calls.get(name) or (lambda: runpy.run_path(str(script), run_name="__main__"))
        env = {**command.env, "CNB_BUILDPACK_DIR": self._source}
        argv = [script or command.argv[0], *command.argv[1:]]
        with _captured(output), _as_program(argv, env, command.cwd, self._source):
            try:
                call()
            except SystemExit as end:
                return Exit(code=_code(end))
        return Exit(code=0)

    def _script(self, name: str) -> str | None:
        program = os.path.join(self._source, "bin", name)
        if os.path.isfile(f"{program}.py"):
            return f"{program}.py"
        with open(program, "rb") as file:
            first = file.readline(200)
        return program if first.startswith(b"#!") and b"python" in first else None


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    os.write(2, f"{end.code}\n".encode())
    return 1


@contextmanager
def _as_program(argv: list[str], env: Mapping[str, str], cwd: str, source: str) -> Iterator[None]:
    """Make this process one that was started for the program; afterwards it is as it was."""
    before = (dict(os.environ), os.getcwd(), sys.argv, list(sys.path), set(sys.modules), os.umask(0o022))
    environ, directory, arguments, path, modules, mask = before
    try:
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.argv = argv
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(directory)
        os.umask(mask)
        sys.argv, sys.path[:] = arguments, path
        # Another buildpack may have modules of the same names.
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(os.path.join(source, "")):
                del sys.modules[name]


@contextmanager
def _captured(output: OutputSink) -> Iterator[None]:
    """Both streams, of Python and of the programs that it starts, for `output`; a debugger gets them back."""
    streams = [_Captured("stdout", 1), _Captured("stderr", 2)]
    hook = sys.breakpointhook

    def pause(*args: object, **kwargs: object) -> object:
        for one in streams:
            one.give_back()
        return hook(*args, **kwargs)

    with ExitStack() as stack:
        for one in streams:
            stack.enter_context(one.file)
            stack.callback(one.tell, output)
            stack.callback(one.give_back)
            one.take()
        sys.breakpointhook = pause
        stack.callback(setattr, sys, "breakpointhook", hook)
        yield


class _Captured:
    """A stream and its descriptor, written to a file."""

    def __init__(self, name: Stream, fd: int) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  _captured closes it
        self._name: Stream = name
        self._fd = fd
        self._kept: tuple[int, TextIO] | None = None

    def take(self) -> None:
        before = cast("TextIO", getattr(sys, self._name))
        before.flush()
        self._kept = (os.dup(self._fd), before)
        os.dup2(self.file.fileno(), self._fd)
        raw = open(self._fd, "wb", buffering=0, closefd=False)  # noqa: SIM115  closing it closes nothing
        setattr(sys, self._name, io.TextIOWrapper(raw, encoding="utf-8", write_through=True))

    def give_back(self) -> None:
        if self._kept is None:
            return
        kept, before = self._kept
        self._kept = None
        getattr(sys, self._name).flush()
        setattr(sys, self._name, before)
        os.dup2(kept, self._fd)
        os.close(kept)

    def tell(self, output: OutputSink) -> None:
        self.file.seek(0)
        if data := self.file.read():
            output(self._name, data)
