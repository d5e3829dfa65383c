"""Programs for exec.d, made of lines for the shell or of a function of Python.

They print TOML to descriptor 3, which a launcher reads at each start (LAU-15). The run image has to have what they
need: a shell, or `python3`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType

_SHELL = r'''#!/bin/sh
set -eu
# A value of TOML: quotes and backslashes have a backslash in front. No sed: a run image may have nothing but a shell.
set_env() {
    _rest=$2 _done=
    while _head=${_rest%%[\\\"]*} && [ "$_head" != "$_rest" ]; do
        _rest=${_rest#"$_head"}
        _done="$_done$_head\\${_rest%"${_rest#?}"}"
        _rest=${_rest#?}
    done
    printf '%s = """\n%s%s"""\n' "$1" "$_done" "$_rest" >&3
}
'''

_PYTHON = r'''#!/usr/bin/env -S python3 -I -S
from __future__ import annotations

@SOURCE@

with open(3, "w", encoding="utf-8", newline="", closefd=False) as out:
    for name, value in @NAME@().items():
        text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
        out.write(f'{name} = """\n{text}"""\n')
'''


def of_shell(lines: str) -> str:
    """A script of these lines, which call `set_env NAME VALUE`; a command that fails ends the start."""
    return f"{_SHELL}{lines.rstrip()}\n"


def of_function(function: Callable[[], Mapping[str, str]]) -> str:
    """A program that prints what `function` returns. Raises TypeError for one that needs more than its own lines."""
    import inspect
    import textwrap

    code = function.__code__
    needed = [*code.co_varnames[: code.co_argcount], *code.co_freevars, *dict.fromkeys(_foreign(code))]
    if needed:
        raise TypeError(
            f"{function.__name__} runs by itself, at each start, where there is no {', '.join(needed)}: "
            "let it import and define what it needs"
        )
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    return _PYTHON.replace("@NAME@", function.__name__).replace("@SOURCE@", source)


def _foreign(code: CodeType) -> Iterator[str]:
    """The names that a function looks up in its module."""
    import builtins
    import dis

    for one in dis.get_instructions(code):
        if one.opname == "LOAD_GLOBAL" and not hasattr(builtins, one.argval):
            yield one.argval
    for inner in code.co_consts:
        if isinstance(inner, type(code)):
            yield from _foreign(inner)
