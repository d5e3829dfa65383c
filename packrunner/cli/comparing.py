"""What is not as it was at the last build with the same arguments: said by `plan` and in the build's report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner import fingerprint, record
from packrunner.lifecycle.outline import Change, Changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.record import Record

_SHOWN = 100


def changes(kept: Record, request: BuildRequest, kinds: Mapping[str, str], store: LocalStore) -> Changes:
    """Everything that keeps "nothing changed" from being the answer; `kinds` says what an input is."""
    if not kept.facts and not kept.load():
        return Changes()
    return Changes(since=kept.facts["when"], changes=tuple(_changes(kept, request, kinds, store)))


def _changes(kept: Record, request: BuildRequest, kinds: Mapping[str, str], store: LocalStore) -> Iterator[Change]:
    facts = kept.facts
    asked = [flag for flag, given in (("--rebuild", request.rebuild), ("--clear-cache", request.clear_cache)) if given]
    yield from (Change(what="asked", where=flag) for flag in asked)
    if facts["environment"] != record.environment_digest(os.environ, facts["environment_names"]):
        yield Change(what="environment")
    settings = {facts["inputs"][i] for i in facts["settings"]}
    scan = record.Scan(facts["inputs"], app_skip=frozenset(facts["skip"]))
    for path, then, now in kept.differences(scan):
        what = "setting" if path in settings else kinds.get(path, "input")
        what = "source" if path == facts["inputs"][0] else what
        # A file has a table of its own, whose only line is the file.
        inside = fingerprint.touched(then, now) if then and now and os.path.isdir(path) else []
        yield Change(what=what, where=path, paths=tuple(inside[:_SHOWN]), total=len(inside))
    if not kept.image_present():
        yield from _images(facts["image"]["names"], store)
    yield from (Change(what="output", where=path) for path in kept.outputs_changed())
    if facts["always"] and not asked:
        yield Change(what="unseen")


def _images(names: Mapping[str, str], store: LocalStore) -> Iterator[Change]:
    """The names that mean other images now; "" where the image is not whole."""
    found = {name: store.read(name) for name in names}
    moved = [name for name, stored in found.items() if stored is None or stored.digest != names[name]]
    yield from (Change(what="image", where=name) for name in moved or [""])
