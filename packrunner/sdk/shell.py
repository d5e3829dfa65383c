"""Commands that people write as one line: which need a shell, and which can be started without one.

Without a shell, signals reach the program and the image needs no bash. `words` splits as a POSIX shell would and gives
up at the first thing that only a shell can do.
"""

from __future__ import annotations

SYNTAX = frozenset("$`&|;<>(){}*?[]~#!\n")
"""Characters that mean something to a shell outside of quotes."""

_BUILTINS = frozenset(
    {
        *(".", ":", "[[", "alias", "bg", "break", "case", "cd", "command", "continue", "declare", "do", "eval", "exec"),
        *("exit", "export", "fg", "for", "function", "hash", "if", "jobs", "let", "local", "popd", "pushd", "read"),
        *(
            "readonly",
            "return",
            "select",
            "set",
            "shift",
            "shopt",
            "source",
            "time",
            "times",
            "trap",
            "type",
            "typeset",
        ),
        *("ulimit", "umask", "unalias", "unset", "until", "wait", "while"),
    }
)
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def words(command: str, *, syntax: frozenset[str] = SYNTAX) -> list[str] | None:
    """The words of a command that needs no shell; None for one that does, or whose quotes do not close."""
    found: list[str] = []
    word: str | None = None
    at = 0
    while at < len(command):
        char = command[at]
        at += 1
        if char in " \t":
            if word is not None:
                found.append(word)
            word = None
        elif char in "'\"":
            quoted = _quoted(command, at, char, syntax)
            if quoted is None:
                return None
            text, at = quoted
            word = (word or "") + text
        elif char == "\\":
            if at == len(command):
                return None
            word = (word or "") + command[at]
            at += 1
        elif char in syntax:
            return None
        else:
            word = (word or "") + char
    return found if word is None else [*found, word]


def _quoted(command: str, at: int, quote: str, syntax: frozenset[str]) -> tuple[str, int] | None:
    """What is between quotes, and where it ends."""
    text = ""
    while at < len(command):
        char = command[at]
        at += 1
        if char == quote:
            return text, at
        if quote == '"' and char in "$`" and char in syntax:
            return None
        if quote == '"' and char == "\\" and command[at : at + 1] in {'"', "\\", "$", "`"}:
            char = command[at]
            at += 1
        text += char
    return None


def argv(command: str) -> list[str]:
    """The line as a process: without a shell where that means the same, else through `bash -c`."""
    return direct(command) or ["bash", "-c", script(command)]


def direct(command: str) -> list[str] | None:
    """The words to execute without a shell; None where only a shell understands the command."""
    found = words(command)
    if not found or found[0] in _BUILTINS or is_assignment(found[0]):
        return None
    return found


def is_assignment(word: str) -> bool:
    """Whether a shell takes the word for `NAME=value`."""
    name, equals, _ = word.partition("=")
    return bool(equals and name) and not name[0].isdigit() and _NAME.issuperset(name)


def script(command: str) -> str:
    """The text for `bash -c`: a single command is put behind `exec`, so that signals reach it and not the shell."""
    if not _is_single(command):
        return command
    rest = command
    assignments = ""
    while True:
        first, space, after = rest.partition(" ")
        if not space or not is_assignment(first) or any(c in first for c in "'\"\\$`"):
            break
        assignments += f"{first} "
        rest = after.lstrip(" ")
    first = rest.split(" ", 1)[0]
    if first in _BUILTINS or is_assignment(first) or first.startswith(("!", "{", "(")):
        return command
    return f"{assignments}exec {rest}"


def _is_single(command: str) -> bool:
    """Whether the command is one simple command: no list, pipe, group, background or substitution."""
    separators = SYNTAX - frozenset("$*?[]~{}!<>")
    return words(command, syntax=separators) is not None
