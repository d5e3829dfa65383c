"""Run a program of somebody else's: its output passes through unchanged, its failure becomes one of ours."""

from __future__ import annotations

import os

from .report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_KEPT = 1 << 18
"""How much of the output, from its end, is kept for explaining a failure: bytes."""


def run(
    argv: Sequence[str],
    *,
    doing: str,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    quiet: bool = False,
    explain: Callable[[str], Failure | None] | None = None,
) -> str:
    """Run `argv` to its end and return the end of its output, both streams in one.

    `doing` completes "could not ..." when it fails; `explain` is given the output then and may know better. `env` is
    the whole environment, by default the own one; `quiet` keeps the output back unless the program fails.
    """
    import subprocess

    try:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as e:
        raise Failure(f"could not {doing}: {argv[0]}: {e.strerror}") from e
    assert process.stdout is not None
    with process:
        output = _pass_through(process.stdout.fileno(), quiet=quiet)
    text = output.decode("utf-8", "replace")
    code = process.returncode
    if code == 0:
        return text
    if quiet:
        _write(output)
    raise (explain(text) if explain else None) or Failure(f"could not {doing}: {_ended(argv[0], code)}")


def _pass_through(source: int, *, quiet: bool) -> bytes:
    kept = b""
    while chunk := os.read(source, 1 << 16):
        if not quiet:
            _write(chunk)
        kept = (kept + chunk)[-_KEPT:]
    return kept


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _ended(program: str, code: int) -> str:
    name = os.path.basename(program)
    if code >= 0:
        return f"{name} ended with status {code}"
    killed = " (out of memory, most likely)" if code == -9 else ""
    return f"{name} was ended by signal {-code}{killed}"
