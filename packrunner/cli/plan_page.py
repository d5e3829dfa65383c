"""What a build would do, for people and for programs."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from packrunner import paths
from packrunner.console import layout, units
from packrunner.console.redact import cleaned, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from packrunner.console.terminal import Terminal
    from packrunner.lifecycle.outline import Cached, Change, Group, Outline, Source
    from packrunner.lifecycle.settings import Output

_ROW = tuple[str, str, str, str]
"""What it is about, subject, detail, and what stands at the right."""
_WORDS = {
    "asked": "was asked for",
    "environment": "a variable that packrunner looks at",
    "unseen": "it may have been made from something else, which cannot be seen without asking",
}
_DONE = {"kept": "kept", "unpacked": "unpacked from", "metadata": "by their metadata", "dropped": "not used"}


def page(found: Outline, terminal: Terminal, redact: Callable[[str], str]) -> list[str]:
    """The page for people: the verdict, then the parts."""

    def clean(text: str) -> str:
        return visible(redact(text))

    lines = [*layout.wrap(clean(f"{_head(found)}: {_verdict(found)}"), terminal), ""]
    previous = ""
    for about, subject, detail, value in _rows(found):
        lines += layout.row("" if about == previous else about, clean(subject), clean(detail), clean(value), terminal)
        previous = about
    more = "More: packrunner plan --json, and packrunner detect --explain for what detection would choose"
    return [*lines, "", *layout.wrap(more, terminal)]


def document(found: Outline, redact: Callable[[str], str]) -> dict[str, Any]:
    """All of it as JSON's own types, schema packrunner.plan/1."""
    values: dict[str, Any] = cleaned(found.to_json(), redact)
    return values


def _head(found: Outline) -> str:
    return f"{found.name} from {paths.readable(found.source)} with {found.builder.name}, engine {found.engine}"


def _verdict(found: Outline) -> str:
    changes = found.changes
    if changes.since is None:
        return "the buildpacks run, as no build with these arguments is known"
    clock = _clock(changes.since)
    if changes.unchanged:
        return f"nothing has changed since {clock}, so the image is kept"
    asked = [one.where for one in changes.changes if one.what == "asked"]
    if asked:
        return f"the buildpacks run, as {' and '.join(asked)} asks for it"
    return f"the buildpacks run, as since {clock} this has changed: {units.names([*map(_named, changes.changes)])}"


def _clock(then: float) -> str:
    today = time.localtime(then)[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", time.localtime(then))


def _named(change: Change) -> str:
    if change.what == "source" and change.paths:
        return units.names(change.paths, change.total)
    return os.path.basename(change.where) or change.what


def _rows(found: Outline) -> Iterator[_ROW]:
    names = _short_names(found)
    yield from (("changed", *_change(one), "") for one in found.changes.changes)
    yield ("builder", found.builder.name, "", units.short(found.builder.digest))
    yield ("run on", found.run_image.name, found.platform, units.short(found.run_image.digest))
    for setting in found.settings:
        if setting.origin != "default" and setting.name not in {"image", "path"}:
            yield ("settings", setting.name, _plain(setting.value), setting.origin)
    yield from (("variables", one.name, "(hidden)", one.origin) for one in found.variables)
    for group in found.groups:
        yield _group(group, names)
    if found.more_groups:
        yield ("group", "and more", "which detection would not try", "")
    skipped = {(one.id, one.version): one.why for group in found.groups for one in group.skipped}
    yield from (("left out", f"{names[key[0]]} {key[1]}", why, "") for key, why in skipped.items())
    yield from (("from", *_source(one, names)) for one in found.sources)
    if found.previous:
        yield ("reuses", found.previous.name, "the image of the last build", units.short(found.previous.digest))
    yield from (("layers", *row, "") for row in _cached(found.caches, names))
    yield from (("goes to", *_output(one), "") for one in found.outputs)


def _short_names(found: Outline) -> Mapping[str, str]:
    """What people call the buildpacks: the last part of the id, where that is enough."""
    count = Counter(identity.rpartition("/")[2] for identity in {one.id for one in found.sources})
    shorts = {one.id: one.id.rpartition("/")[2] for one in found.sources}
    return {identity: short if count[short] == 1 else identity for identity, short in shorts.items()}


def _change(change: Change) -> tuple[str, str]:
    if change.what == "image":
        return ("image", f"{change.where} means another image" if change.where else "it is not whole in the store")
    if change.what in _WORDS:
        return (change.where or change.what, _WORDS[change.what])
    where = paths.readable(change.where)
    inside = units.names(change.paths, change.total)
    return (change.what, f"{inside} in {where}" if inside and change.what != "source" else inside or where)


def _group(group: Group, names: Mapping[str, str]) -> _ROW:
    own = [one for one in group.members if not (one.optional or one.extension or one.system)]
    name = next((names[one.id] for one in (*own, *group.members)), "(empty)")
    shown = []
    for one in group.members:
        marks = [
            word
            for word, holds in (
                ("extension", one.extension),
                ("optional", one.optional and not one.extension),
                ("always", one.system),
            )
            if holds
        ]
        shown.append(f"{names[one.id]} {one.version}" + (f" ({', '.join(marks)})" if marks else ""))
    return (f"group {group.number}", name, ", ".join(shown), "")


def _source(source: Source, names: Mapping[str, str]) -> tuple[str, str, str]:
    place = paths.readable(source.place) if os.path.isabs(source.place) else source.place
    detail = {"built-in": "built in", "inline": "project.toml, its script"}.get(
        source.origin, f"{source.origin} {place}"
    )
    return (f"{names[source.id]} {source.version}", detail, units.short(source.digest or source.layer or ""))


def _cached(found: Iterable[Cached], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """For each buildpack and what becomes of them, its layers."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in found:
        words = [
            _DONE[one.action],
            one.origin if one.action == "unpacked" else "",
            f"({one.reason})" if one.reason else "",
        ]
        rows.setdefault((one.buildpack, " ".join(filter(None, words))), []).append(one.layer)
    for (buildpack, done), layers in rows.items():
        yield (names.get(buildpack, buildpack), f"{', '.join(layers)}: {done}")


def _output(one: Output) -> tuple[str, str]:
    return (one.kind, paths.readable(one.place) if os.path.isabs(one.place) else one.place)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = "" if value is None else str(value)
    return paths.readable(text) if os.path.isabs(text) else text
