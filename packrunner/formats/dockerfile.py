"""Dockerfiles as image extensions write them: text in, instructions out. Pure.

What an instruction means to a base image is lifecycle/extend.py's business. Left out of the format, and refused by
name where the text uses it: here-documents, several stages, and flags that only BuildKit has.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import GenerateError
from packrunner.formats.dockerfile_words import Expander, pairs, split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 1 << 20
"""Bytes that a Dockerfile may have."""
BASE_IMAGE = "base_image"
BASE_REFERENCE = "${base_image}"

RECOMMENDED = frozenset({"ADD", "ARG", "COPY", "ENV", "LABEL", "RUN", "SHELL", "USER", "WORKDIR"})
"""Instructions besides FROM that the specification allows; others are warned about (EXT-07)."""
OTHERS = frozenset({"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME"})

Kind = Literal["build", "run"]

_FLAGS = {"COPY": frozenset({"chown", "chmod", "link"}), "ADD": frozenset({"chown", "chmod", "link"})}
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(.*?)\s*")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
_HEREDOC = re.compile(r"(?:^|\s)\d?<<-?\s*[\"']?[A-Za-z_]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction: `text` is what follows its name and flags, `line` where it begins, counted from 1.

    `words` is the list of its JSON form, None where it is written in the shell form.
    """

    name: str
    text: str
    line: int
    flags: Mapping[str, str]
    words: tuple[str, ...] | None = None


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile of one stage: `args` come before `base`, the text of FROM, "" where there is none."""

    where: str
    text: str
    args: tuple[Instruction, ...]
    base: str
    instructions: tuple[Instruction, ...]
    escape: str = "\\"

    def error(self, at: Instruction, brief: str, *, tries: tuple[str, ...] = ()) -> GenerateError:
        """The error for an instruction that cannot be right, naming its file and line."""
        return _error(self.where, at.line, brief, tries=tries)

    def expander(self, at: Instruction) -> Expander:
        """What expands variables in the words of an instruction."""
        return Expander(escape=self.escape, refuse=lambda brief: self.error(at, brief))

    def not_recommended(self) -> Iterator[tuple[Instruction, str]]:
        """The instructions that the specification advises against, each with a sentence about it (EXT-07)."""
        for one in self.instructions:
            if one.name in OTHERS:
                yield one, f"{self.where}:{one.line}: {one.name} is not an instruction for extensions"

    def declares(self, arg: str) -> bool:
        """Whether an ARG of the stage asks for an argument."""
        found = (one for one in self.instructions if one.name == "ARG")
        return any(name == arg for one in found for name, _ in arguments(self, one))


def parse(data: bytes, *, where: str) -> Dockerfile:
    """Read a Dockerfile; raises GenerateError, slug `dockerfile`, naming file and line."""
    if len(data) > LIMIT:
        raise _error(where, 1, f"{len(data)} bytes, more than the {LIMIT} that a Dockerfile may have")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _error(where, data.count(b"\n", 0, e.start) + 1, "it is not UTF-8") from e
    if "\0" in text:
        raise _error(where, text.count("\n", 0, text.index("\0")) + 1, "it holds a NUL byte")
    escape = _escape(text, where)
    found = [_instruction(line, number, where) for number, line in _logical(text, escape)]
    places = [i for i, one in enumerate(found) if one.name == "FROM"]
    if len(places) > 1:
        raise _error(where, found[places[1]].line, "a second FROM: an extension's Dockerfile has one stage")
    place = places[0] if places else 0
    before = tuple(found[:place])
    for one in before:
        if one.name != "ARG":
            raise _error(where, one.line, f"{one.name} before FROM: only ARG can stand there")
    base = _base(found[place], where) if places else ""
    rest = tuple(found[place + 1 :] if places else found)
    return Dockerfile(where=where, text=text, args=before, base=base, instructions=rest, escape=escape)


def check_build(file: Dockerfile) -> None:
    """Refuse a build.Dockerfile that does not begin with `ARG base_image` and `FROM ${base_image}` (EXT-07)."""
    if not file.base:
        raise _error(file.where, 1, f"a build.Dockerfile has `ARG {BASE_IMAGE}`, then `FROM {BASE_REFERENCE}`")
    names = [name for one in file.args for name, _ in arguments(file, one)]
    if names != [BASE_IMAGE]:
        line = file.args[0].line if file.args else 1
        raise _error(file.where, line, f"a build.Dockerfile starts with `ARG {BASE_IMAGE}`, and no other ARG")
    if file.base != BASE_REFERENCE:
        brief = f"after `ARG {BASE_IMAGE}` a build.Dockerfile has `FROM {BASE_REFERENCE}`"
        raise _error(file.where, file.args[-1].line + 1, brief)


def switched_base(file: Dockerfile, given: Mapping[str, str]) -> str:
    """The image that a run.Dockerfile puts in the place of the run image; "" where it takes what there is (EXT-08).

    `given` are the arguments that the extension sets itself; a default in the file counts where it sets none.
    """
    if file.base in {"", BASE_REFERENCE}:
        return ""
    values: dict[str, str] = {}
    for one in file.args:
        for name, default in arguments(file, one):
            value = given.get(name, None if default is None else file.expander(one).expand(default, values))
            if value is not None:
                values[name] = value
    at = Instruction(name="FROM", text=file.base, line=file.args[-1].line + 1 if file.args else 1, flags={})
    expanded = file.expander(at).expand(file.base, values)
    if not expanded:
        raise file.error(at, f"FROM {file.base} names no image: its argument has no value")
    return expanded


def arguments(file: Dockerfile, one: Instruction) -> list[tuple[str, str | None]]:
    """The names that an ARG declares, with their raw defaults; None where there is none."""
    found: list[tuple[str, str | None]] = []
    for word in split(one.text, file.escape):
        name, equals, default = word.partition("=")
        if not _NAME.fullmatch(name):
            raise file.error(one, f"{name!r} cannot be the name of an argument")
        found.append((name, default if equals else None))
    if not found:
        raise file.error(one, "ARG names nothing")
    return found


def assignments(file: Dockerfile, one: Instruction) -> list[tuple[str, str]]:
    """The raw names and values of an ENV or LABEL, in its form `NAME=value ...` or the old `NAME value`."""
    found = pairs(one.text, file.escape)
    if not found or not all(name for name, _ in found):
        raise file.error(one, f"{one.name} needs NAME=value")
    return found


def _escape(text: str, where: str) -> str:
    """The escape character that the first lines choose; other directives are for other programs."""
    seen: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            break
        name, value = found[1].lower(), found[2]
        if name in seen:
            raise _error(where, number, f"the directive {name} appears twice")
        if name == "escape" and value not in {"\\", "`"}:
            raise _error(where, number, f"{value!r} cannot be the escape character: it is \\ or `")
        seen[name] = value
    return seen.get("escape", "\\")


def _logical(text: str, escape: str) -> Iterator[tuple[int, str]]:
    """Lines joined where the escape character ends them, without comments and empty ones; with their first number."""
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    start, parts = 0, ""
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if raw.lstrip().startswith("#") or (start and not raw.strip()):
            continue  # also between the parts of one instruction
        line = raw if start else raw.lstrip()
        start = start or (number if line else 0)
        shortened = continued.sub("", line)
        parts += shortened
        if shortened == line and start:
            yield start, parts.strip()
            start, parts = 0, ""
    if parts.strip():
        yield start, parts.strip()


def _instruction(line: str, number: int, where: str) -> Instruction:
    name, *rest = line.split(None, 1)
    name, text = name.upper(), rest[0] if rest else ""
    if name != "FROM" and name not in RECOMMENDED | OTHERS:
        raise _error(where, number, f"unknown instruction {name[:40]}")
    if name in {"RUN", "COPY", "ADD"} and _HEREDOC.search(text):
        brief = f"{name} with a here-document (<<) is not supported in extensions"
        raise _error(where, number, brief, tries=("put the text into a file of the context, and COPY it",))
    flags, text = _flags(name, text, number, where)
    if not text:
        raise _error(where, number, f"{name} says nothing")
    return Instruction(name=name, text=text, line=number, flags=flags, words=_words(text))


def _flags(name: str, text: str, number: int, where: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while name in {"FROM", "RUN", "COPY", "ADD"} and (found := _FLAG.match(text)):
        if found[1] not in _FLAGS.get(name, frozenset()):
            raise _error(where, number, f"{name} --{found[1]} is not supported in extensions")
        flags[found[1]] = found[2] or ""
        text = text[found.end() :]
    return flags, text


def _words(text: str) -> tuple[str, ...] | None:
    """The list of the JSON form; what is not a list of strings is the shell form, as everywhere."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(w, str) for w in found) else None


def _base(one: Instruction, where: str) -> str:
    words = one.text.split()
    if len(words) == 3 and words[1].upper() == "AS":
        return words[0]
    if len(words) != 1:
        raise _error(where, one.line, "FROM names one image")
    return words[0]


def _error(where: str, line: int, brief: str, *, tries: tuple[str, ...] = ()) -> GenerateError:
    return GenerateError(f"{where}:{line}: {brief}", slug="dockerfile", at=f"{where}:{line}", tries=tries)
