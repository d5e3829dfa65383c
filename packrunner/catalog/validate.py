"""Looking over a buildpack or an extension for its author: what is wrong, and what others may trip over."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packrunner.catalog import platforms
from packrunner.catalog.check import kind_of
from packrunner.disk import disk_error
from packrunner.errors import PackrunnerError, UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import (
    BuildpackDescriptor,
    BuildpackInfo,
    Distro,
    GroupRef,
    License,
    OrderGroup,
    Stack,
    Target,
)
from packrunner.formats.positions import place
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.catalog.stage import Stage, StagedBuildpack

_PROGRAMS = {"buildpack": ("detect", "build"), "extension": ("detect", "generate")}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a buildpack: `at` is a file and maybe its line, `fix` what to do."""

    level: Literal["error", "warning"]
    text: str
    at: str
    fix: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about one directory; `name` is id@version, "" where even that is wrong."""

    directory: str
    name: str = ""
    kind: str = "buildpack"
    findings: tuple[Finding, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether it can be used."""
        return not any(one.level == "error" for one in self.findings)


def validate(directory: str, stage: Stage) -> Verdict:
    """Look over what is in a directory; nothing of it runs. Of one for several platforms, every part."""
    source = os.path.realpath(directory)
    kind = kind_of(source)
    staged = None
    try:
        if not os.path.isfile(os.path.join(source, f"{kind}.toml")):
            what = "holds no buildpack.toml and no extension.toml" if os.path.isdir(source) else "is not a directory"
            raise UsageError(
                f"{readable(directory)} {what if os.path.lexists(source) else 'does not exist'}",
                slug="unknown-buildpack",
                tries=("packrunner buildpack validate DIR, for the directory that does",),
            )
        for platform in platforms.folders(source) or ("",):
            staged = stage.on(platform).add(source, kind, shown=directory)
    except PackrunnerError as error:
        wrong = Finding(
            level="error",
            text=f"{error.brief}: {error.cause}" if error.cause else error.brief,
            at=error.at or readable(directory),
            fix=error.tries[0] if error.tries else "",
        )
        return Verdict(directory=directory, kind=kind, findings=(wrong,))
    assert staged is not None
    return Verdict(
        directory=directory,
        name=f"{staged.id}@{staged.version}",
        kind=kind,
        findings=tuple(_doubts(staged, source, directory)),
    )


def _doubts(staged: StagedBuildpack, source: str, shown: str) -> Iterator[Finding]:
    where = os.path.join(shown, f"{staged.kind}.toml")
    with open(os.path.join(source, f"{staged.kind}.toml"), "rb") as file:
        text = toml.text_of(file.read())
    yield from _unknown(tomllib.loads(text), staged.kind, text, where)
    yield from _about(staged, text, where)
    parts = platforms.folders(source) or ("",)
    for path in (os.path.join(part, "bin", name) for part in parts for name in _PROGRAMS[staged.kind]):
        try:
            mode = os.stat(os.path.join(source, path)).st_mode
        except OSError:
            continue
        if not mode & stat.S_IXUSR:
            at = os.path.join(shown, path)
            yield _doubt("it is not executable, which only packrunner puts right", at, f"chmod +x {at}")


def _about(staged: StagedBuildpack, text: str, where: str) -> Iterator[Finding]:
    descriptor = staged.descriptor
    if staged.kind == "buildpack" and not (descriptor.is_composite or descriptor.targets or descriptor.stacks):
        yield _doubt("it does not say where it works", where, '[[targets]] with os = "linux"')
    for i, group in enumerate(descriptor.order):
        for j, ref in enumerate(group.group):
            if (ref.id, ref.version or staged.version) == (staged.id, staged.version):
                at = place(text, f"order[{i}].group[{j}].id", where)
                yield Finding(level="error", text="it is part of itself", at=at, fix="take it out of its own order")
            elif not ref.version:
                at = place(text, f"order[{i}].group[{j}].id", where)
                yield _doubt(f"{ref.id} is named without a version, which a package needs", at, 'version = "1.0.0"')


def strangers(staged: StagedBuildpack) -> Iterator[str]:
    """What to say of keys in a descriptor that mean nothing to anybody: nothing is refused for them.

    Buildpacks that somebody else packaged for a builder are not looked at.
    """
    if not staged.digest:
        return
    try:
        with open(os.path.join(staged.path, f"{staged.kind}.toml"), "rb") as file:
            data = file.read()
    except OSError as error:
        raise disk_error(error, staged.path) from error
    where = os.path.join(staged.shown or staged.source, f"{staged.kind}.toml")
    text = toml.text_of(data)
    for one in _unknown(tomllib.loads(text), staged.kind, text, where):
        yield f"{one.at.partition(', key')[0]}: {one.text}"


def _unknown(table: dict[str, Any], kind: str, text: str, where: str) -> Iterator[Finding]:
    """Keys that mean nothing to anybody, which are misspelt most of the time."""
    from difflib import get_close_matches

    for key, name, known in _strangers(table, kind):
        close = get_close_matches(name, known, n=1)
        meant = f": did you mean {close[0]!r}" if close else ""
        yield _doubt(f"there is no key {name!r}{meant}", place(text, key, where), f"{close[0]} = ..." if close else "")


def _strangers(table: dict[str, Any], kind: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Path, name and the names that there are, of each key that is not in the specification."""
    tables: list[tuple[str, Any, tuple[type[msgspec.Struct], ...]]] = [
        ("", table, (BuildpackDescriptor,)),
        (kind, table.get(kind), (BuildpackInfo,)),
    ]
    tables += _entries(table, f"{kind}.licenses", License)
    tables += _entries(table, "targets", Target)
    tables += _entries(table, "stacks", Stack)
    tables += _entries(table, "order", OrderGroup)
    for above, below, described in (("targets", "distros", Distro), ("order", "group", GroupRef)):
        for path, entry, _ in _entries(table, above, Target):
            if isinstance(entry, dict):
                tables += [(f"{path}.{name}", one, to) for name, one, to in _entries(entry, below, described)]
    for path, found, described_by in tables:
        known = tuple(name for one in described_by for name in one.__struct_encode_fields__)
        known = tuple(kind if name == "buildpack" else name for name in known)
        for name in found if isinstance(found, dict) else ():
            if name not in known:
                yield f"{path}.{name}".lstrip("."), name, known


def _entries(
    table: dict[str, Any], path: str, described: type[msgspec.Struct]
) -> list[tuple[str, Any, tuple[type[msgspec.Struct], ...]]]:
    found: Any = table
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    entries = found if isinstance(found, list) else []
    return [(f"{path}[{number}]", entry, (described,)) for number, entry in enumerate(entries)]


def _doubt(text: str, at: str, fix: str) -> Finding:
    return Finding(level="warning", text=text, at=at, fix=fix)
