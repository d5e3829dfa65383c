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
from packrunner.formats.sync import LABEL, PLAN_ENTRY, VERSION, SyncRules
from packrunner.sdk import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from packrunner.formats.plan import Plan
    from packrunner.formats.sync import Rule
    from packrunner.lifecycle.detect_only import Answer

PASSING = frozenset(msgspec.convert(sync.PASSING["src"], list[str]))
"""Patterns of what is ignored whatever buildpacks say."""

_LEGACY = "devmode.sync"


def _quiet(_: str) -> None:
    """Nobody wants to know."""


def of_detection(
    answer: Answer, *, workspace: str = sync.WORKSPACE, warn: Callable[[str], object] = _quiet
) -> SyncRules:
    """The rules that the chosen group's buildpacks state; none where nobody takes them, so that nothing could obey.

    `warn` is told about rules that are left out, and those that never apply.
    """
    found = answer.findings.resolution
    return of_plan(found.plan, workspace=workspace, warn=warn) if found is not None else SyncRules(workspace=workspace)


def of_plan(plan: Plan, *, workspace: str = sync.WORKSPACE, warn: Callable[[str], object] = _quiet) -> SyncRules:
    """The rules in a build plan."""
    stated = [r.metadata for entry in plan.entries for r in entry.requires if r.name == PLAN_ENTRY]
    return _merged(stated, workspace, warn)


def of_image(found: Mapping[str, str], *, warn: Callable[[str], object] = _quiet) -> SyncRules:
    """The rules that an image carries in its labels: packrunner's, or those that Google's buildpacks once wrote.

    Raises UsageError: `no-sync-rules` for none, `sync-rules` for what cannot be read.
    """
    if LABEL in found:
        return _read(found[LABEL], LABEL)
    own = sorted(key for key in found if key.startswith(f"{LABEL}."))
    stated = [_document(found[key], key) for key in own] or list(_legacy(found.get(labels.BUILD, "{}")))
    rules = _merged(stated, sync.WORKSPACE, warn)
    if not rules.rules:
        raise UsageError(
            "the image has no sync rules",
            slug="no-sync-rules",
            cause=f"it has no label {LABEL}; images that are made for development have it",
            tries=("packrunner build --exec-env development IMAGE",),
        )
    return rules


def decide(rules: SyncRules, path: str) -> Rule | None:
    """The first rule that means `path`, relative to the application; None where a rebuild is needed."""
    for rule in rules.rules:
        for pattern in rule.src:
            if matches(pattern, path):
                return rule
    return None


def is_ignored(rules: SyncRules, path: str) -> bool:
    """Whether nothing comes of a change of `path`."""
    rule = decide(rules, path)
    return rule is not None and rule.action == "ignore"


def _merged(
    stated: Iterable[Mapping[str, Any]], workspace: str = sync.WORKSPACE, warn: Callable[[str], object] = _quiet
) -> SyncRules:
    merged, warnings = sync.merge([one for one in stated if one], workspace=workspace)
    for text in warnings:
        warn(text)
    return msgspec.convert(merged, SyncRules)


def _read(text: str, where: str) -> SyncRules:
    document = _document(text, where)
    try:
        found = msgspec.convert(document, SyncRules)
        for rule in document.get("rules", ()):
            sync.check(rule)
    except (msgspec.ValidationError, sync.BadRule) as e:
        raise _unreadable(where, str(e)) from e
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


def _unreadable(where: str, cause: str) -> UsageError:
    return UsageError(f"the sync rules of {where} cannot be read", slug="sync-rules", cause=cause)


def _legacy(text: str) -> Iterator[dict[str, Any]]:
    """`devmode.sync` of the bill of materials: files to copy; the application's own watcher does the rest."""
    entries = _document(text, labels.BUILD).get("bom")
    for entry in entries if isinstance(entries, list) else ():
        metadata = entry.get("metadata") if isinstance(entry, dict) else None
        stated = metadata.get(_LEGACY) if isinstance(metadata, dict) else None
        for one in stated if isinstance(stated, list) else ():
            if isinstance(one, dict):
                yield {"buildpack": entry.get("name"), "rules": [_of_google(one)]}


def _of_google(stated: Mapping[str, Any]) -> dict[str, Any]:
    dest = stated.get("dest")
    return {"src": [stated.get("src")], "action": "sync"} | ({} if dest == sync.WORKSPACE else {"dest": dest})
