"""What people and the platform are told: lines on the standard output, and the files of buildpack-conventions.md.

Lines go out by `os.write`, so that they keep their place among the output of the programs that a buildpack runs.
"""

from __future__ import annotations

import os

from . import toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = ".packrunner"
"""The directory below the buildpack's layers directory that packrunner makes, reads and removes."""


class Failure(Exception):  # noqa: N818 - what an author raises to say that the build cannot go on
    """The build cannot go on, for a reason that its user can act upon.

    `brief` continues the buildpack's name: lower case, no full stop. `at` is a place, `file:line   text` where a line
    is known; `tries` are next steps, most likely first.
    """

    def __init__(self, brief: str, *, at: str = "", tries: Sequence[str] = ()) -> None:
        super().__init__(brief)
        self.brief = brief
        self.at = at
        self.tries = tuple(tries)

    def lines(self) -> str:
        """The failure in words, one line a part."""
        at = [f"  at:  {self.at}"] if self.at else []
        return "\n".join([f"error: {self.brief}", *at, *(f"  try: {text}" for text in self.tries)])


def say(text: str) -> None:
    """A line of the buildpack's own, for everyone."""
    _write(f"{text}\n")


def warn(text: str, *, hint: str = "") -> None:
    """Something that the reader can change; `hint` is the change."""
    _write(f"warning: {text}\n" + (f"  try: {hint}\n" if hint else ""))


def _write(text: str) -> None:
    rest = text.encode("utf-8", "backslashreplace")
    while rest:
        rest = rest[os.write(1, rest) :]


def fail(failure: Failure, layers_dir: str) -> None:
    """Tell why bin/build failed: to a platform that reads the conventions' files in one of them, else in words."""
    table: dict[str, toml.Value] = {"brief": failure.brief}
    if failure.at:
        table["at"] = failure.at
    if failure.tries:
        table["try"] = failure.tries
    if not _tell(layers_dir, "failure.toml", table):
        say(failure.lines())


def succeed(layers_dir: str, step: str, layers: Sequence[tuple[str, str]]) -> None:
    """Tell what happened: the buildpack's line, and (layer, detail) for each layer; other platforms get the line."""
    table: dict[str, toml.Value] = {"step": step} if step else {}
    if layers:
        table["layers"] = [{"name": name, "detail": detail} for name, detail in layers]
    if table and not _tell(layers_dir, "report.toml", table) and step:
        say(step)


def _tell(layers_dir: str, name: str, table: toml.Table) -> bool:
    """Write a file for the platform; False, and nothing done, where it has not made the directory for it."""
    hidden = os.path.join(layers_dir, HIDDEN)
    if not os.path.isdir(hidden):
        return False
    write(os.path.join(hidden, name), toml.dumps(table))
    return True


def write(path: str, content: str | bytes) -> None:
    """Create or replace a file; text becomes UTF-8."""
    with open(path, "wb") as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
