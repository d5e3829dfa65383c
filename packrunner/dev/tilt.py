"""Rules for Tilt's live_update, as one JSON document that the extension in integrations/tilt reads.

Tilt copies by paths, not by patterns, and builds anew when a changed file is below `fall_back_on` or below no `sync`.
What no rule matches, and what a rule with a pattern wants built anew, is therefore looked up in the application.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packrunner.dev.covering import SETTLE, files, ignored, root, sends, settles, target, whole
from packrunner.dev.overlap import meets
from packrunner.dev.patterns import ANY
from packrunner.dev.rules import decide

if TYPE_CHECKING:
    from packrunner.dev.covering import Project
    from packrunner.formats.sync import Rule, SyncRules

SCHEMA = "packrunner.sync-rules.tilt/1"
DESCRIPTOR = "project.toml"


def render(rules: SyncRules, project: Project) -> str:
    """The document."""
    return json.dumps(document(rules, project.path), indent=2)


def document(rules: SyncRules, app: str) -> dict[str, Any]:
    """What live_update and custom_build are given; local paths are relative to the application.

    `watch` has the files that may change the rules themselves.
    """
    stated = _stated(rules, app)
    return {
        "schema": SCHEMA,
        "ignore": ignored(rules),
        "fall_back_on": sorted({*stated, *_unmatched(rules, app)}),
        "sync": [{"local": local or ".", "remote": remote} for local, remote in _syncs(rules, app)],
        "run": [list(SETTLE)] if any(settles(rule) for rule in rules.rules) else [],
        "watch": sorted({*stated, DESCRIPTOR}),
    }


def _stated(rules: SyncRules, app: str) -> set[str]:
    """Paths for which a rule says that they need a new image: also missing ones, where it names them."""
    named: set[str] = set()
    patterns: list[str] = []
    before: list[str] = []
    for rule in rules.rules:
        for src in rule.src:
            if rule.action == "rebuild":
                plain = whole(src) and root(src) and not any(meets(src, other) for other in before)
                if plain:
                    named.add(root(src))
                else:
                    patterns.append(src)
            elif sends(rule):
                before.append(src)
    found = files(rules, app, tuple(patterns)) if patterns else ()
    return named | {path for path in found if _needs_image(rules, path) and not _within(path, named)}


def _needs_image(rules: SyncRules, path: str) -> bool:
    rule = decide(rules, path)
    return rule is not None and rule.action == "rebuild"


def _within(path: str, directories: set[str]) -> bool:
    names = path.split("/")
    return "" in directories or any("/".join(names[: i + 1]) in directories for i in range(len(names)))


def _unmatched(rules: SyncRules, app: str) -> set[str]:
    """Files that no rule matches, but that lie where files are copied."""
    if any(ANY in rule.src for rule in rules.rules):
        return set()
    copied = {local for local, _ in _syncs(rules, app)}
    below = tuple(f"{local}/{ANY}" if local else ANY for local in copied)
    return {path for path in files(rules, app, below) if decide(rules, path) is None}


def _syncs(rules: SyncRules, app: str) -> list[tuple[str, str]]:
    """Pairs of a local path and where it goes; Tilt takes the first that fits, so the innermost come first."""
    pairs: dict[str, str] = {}
    elsewhere: list[str] = []
    for i, rule in enumerate(rules.rules):
        if sends(rule):
            for src in rule.src:
                for local in _places(rules, i, src, app, set(elsewhere)):
                    pairs.setdefault(local, _remote(rules, rule, local))
                    if target(rules, rule) != rules.workspace:
                        elsewhere.append(local)
    ordered = sorted(pairs.items(), key=lambda pair: (-len(pair[0].split("/")) if pair[0] else 0, pair[0]))
    return [(local, remote) for local, remote in ordered if not _covered(local, remote, pairs)]


def _places(rules: SyncRules, index: int, src: str, app: str, elsewhere: set[str]) -> list[str]:
    """Where files that a pattern means can be; each by itself if they go elsewhere than others from there."""
    rule = rules.rules[index]
    there = target(rules, rule)
    before = (one for one in rules.rules[:index] if sends(one) and target(rules, one) != there)
    if there == rules.workspace:
        return [] if _within(root(src), elsewhere) else [root(src)]
    if whole(src) and not any(meets(src, kept) for one in before for kept in one.src):
        return [root(src)]
    return [path for path in files(rules, app, (src,)) if decide(rules, path) is rule]


def _remote(rules: SyncRules, rule: Rule, local: str) -> str:
    base = target(rules, rule)
    return f"{base.rstrip('/')}/{local}" if local else base


def _covered(local: str, remote: str, pairs: dict[str, str]) -> bool:
    """Whether the nearest directory above that is copied takes `local` to the same place."""
    names = local.split("/")
    for count in range(len(names) - 1, -1, -1):
        above = "/".join(names[:count])
        if local and above in pairs:
            rest = "/".join(names[count:])
            return f"{pairs[above].rstrip('/')}/{rest}" == remote
    return False
