"""Sync rules on this side: from detection alone, or from an image that carries them; and which one a file falls under.

They are merged and checked by the SDK's `sync`, as in the buildpack that puts them into an image.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.dev.patterns import matches
from packrunner.errors import UsageError
from packrunner.formats import labels
from packrunner.formats.sync import LABEL, PLAN_ENTRY, VERSION, Rule, SyncRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.formats.plan import Plan
    from packrunner.lifecycle.detect_only import Answer

_LEGACY = "devmode.sync"


def of_detection(answer: Answer) -> SyncRules:
    """The rules that the chosen group's buildpacks state; none where nobody takes them, so that nothing could obey."""
    found = answer.findings.resolution
    return of_plan(found.plan) if found is not None else SyncRules()


def of_plan(plan: Plan) -> SyncRules:
    """The rules in a build plan. Raises UsageError (`sync-rules`) for what is none."""
    stated = [r.metadata for entry in plan.entries for r in entry.requires if r.name == PLAN_ENTRY]
    return _merged([one for one in stated if one])


def of_image(found: Mapping[str, str]) -> SyncRules:
    """The rules that an image carries in its labels: packrunner's, or those that Google's buildpacks once wrote.

    Raises UsageError: `no-sync-rules` for none, `sync-rules` for what cannot be read.
    """
    if LABEL in found:
        return _read(found[LABEL], LABEL)
    own = sorted(key for key in found if key.startswith(f"{LABEL}."))
    if own:
        return _merged([_document(found[key], key) for key in own])
    legacy = tuple(_legacy(found.get(labels.BUILD, "{}")))
    if not legacy:
        raise UsageError(
            "the image has no sync rules",
            slug="no-sync-rules",
            cause=f"it has no label {LABEL}; images that are made for development have it",
            tries=("packrunner build --exec-env development IMAGE",),
        )
    return SyncRules(rules=legacy)


def decide(rules: SyncRules, path: str) -> Rule | None:
    """The first rule that means `path`, relative to the application; None where a rebuild is needed."""
    for rule in rules.rules:
        for pattern in rule.src:
            if matches(pattern, path):
                return rule
    return None


def _merged(stated: list[Mapping[str, Any]]) -> SyncRules:
    rules: list[Rule] = []
    versions = {}
    for one in stated:
        name = str(one.get("buildpack", ""))
        versions[name] = str(one.get("version", ""))
        rules += [_convert({"buildpack": name, **rule}, Rule, name) for rule in one.get("rules", ())]
    return SyncRules(rules=tuple(rules), buildpacks=versions)


def _read(text: str, where: str) -> SyncRules:
    found: SyncRules = _convert(_document(text, where), SyncRules, where)
    if found.version > VERSION:
        raise _unreadable(where, f"they are of version {found.version}, this packrunner reads {VERSION}")
    return found


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as e:
        raise _unreadable(where, f"not JSON: {e}") from e
    if not isinstance(value, dict):
        raise _unreadable(where, "not a JSON object")
    return value


def _convert(value: Any, kind: type[msgspec.Struct], where: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as e:
        raise _unreadable(where, str(e)) from e


def _unreadable(where: str, cause: str) -> UsageError:
    return UsageError(f"the sync rules of {where} cannot be read", slug="sync-rules", cause=cause)


def _legacy(text: str) -> Iterator[Rule]:
    """`devmode.sync` of the bill of materials: files to copy; the application's own watcher does the rest."""
    entries = _document(text, labels.BUILD).get("bom")
    for entry in entries if isinstance(entries, list) else ():
        metadata = entry.get("metadata") if isinstance(entry, dict) else None
        stated = metadata.get(_LEGACY) if isinstance(metadata, dict) else None
        for one in stated if isinstance(stated, list) else ():
            if isinstance(one, dict) and isinstance(one.get("src"), str) and isinstance(one.get("dest"), str):
                yield Rule(src=(one["src"],), action="sync", dest=one["dest"], buildpack=str(entry.get("name", "")))
