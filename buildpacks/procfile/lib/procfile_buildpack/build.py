"""bin/build: read the Procfile, say what is odd, declare its processes."""

from __future__ import annotations

import os

from packrunner.sdk.report import Failure, say, warn
from packrunner.sdk.shell import argv, script, words

from .grammar import default_process, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packrunner.sdk.build import Build

_FILE = "Procfile"
_LIMIT = 1 << 20


def build(context: Build) -> None:
    """Declare a process for each line of the Procfile; BP_PROCFILE_DEFAULT_PROCESS is `web` where no line is."""
    commands = _commands()
    if not commands:
        raise Failure(
            "found no process in the Procfile", at=f"{_FILE}:1", tries=("a line such as `web: gunicorn app:app`",)
        )
    default = default_process(list(commands))
    for name, command in commands.items():
        context.process(name, _argv(name, command), default=name == default, reload="restart")
    context.step = ", ".join(f"{name}: {command}" for name, command in commands.items())
    if not default:
        say(f"note: none of {', '.join(commands)} starts by default; name one when starting the image")


def _commands() -> dict[str, str]:
    fallback = os.environ.get("BP_PROCFILE_DEFAULT_PROCESS", "").strip()
    commands = {"web": fallback} if fallback else {}
    try:
        with open(_FILE, "rb") as file:
            data = file.read(_LIMIT)
    except FileNotFoundError:
        return commands
    found = parse(_text(data), lambda number, what: warn(f"{_FILE}:{number}: {what}"))
    return {**commands, **found}


def _text(data: bytes) -> str:
    try:
        if b"\0" not in data:
            return data.decode()
        where = data.index(b"\0")
    except UnicodeDecodeError as e:
        where = e.start
    line = data.count(b"\n", 0, where) + 1
    raise Failure("cannot read the Procfile as UTF-8", at=f"{_FILE}:{line}", tries=("save it as UTF-8 text",))


def _argv(name: str, command: str) -> list[str]:
    """The command as a process; BP_DIRECT_PROCESS overrules whether it needs a shell."""
    wish = os.environ.get("BP_DIRECT_PROCESS", "").lower()
    plain = words(command, syntax=frozenset())
    if plain is None:
        warn(f"{_FILE}: {name} has a quote that does not close: {command}")
    if wish in {"false", "0"}:
        return ["bash", "-c", script(command)]
    chosen = argv(command)
    if plain and chosen != plain and wish in {"true", "1"}:
        warn(f"{_FILE}: {name} has shell syntax, which BP_DIRECT_PROCESS takes literally: {command}")
        return plain
    return chosen
