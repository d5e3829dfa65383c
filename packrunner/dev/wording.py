"""How `packrunner dev` says things: pure functions from paths and rules to a few words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.console.units import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.sync import Rule, SyncRules

_RULES_WIDTH = 88
_PATTERNS_WIDTH = 36


def subject(paths: Sequence[str]) -> str:
    """One or two paths by name; from three on their common directory and a count."""
    if len(paths) <= 2:
        return ", ".join(paths)
    common = os.path.commonpath(paths)
    count = number(len(paths), "file")
    return f"{common}/ ({count})" if common else count


def rules_line(rules: SyncRules | None) -> str:
    """What is done with which files, as far as a line goes."""
    if rules is None or not rules.rules:
        return "none: no buildpack states any, each change is a rebuild"
    stated = sorted({rule.buildpack for rule in rules.rules if rule.buildpack})
    origin = ", ".join(
        f"{name.removeprefix('packrunner/')} {rules.buildpacks.get(name, '')}".rstrip() for name in stated
    )
    count = sum(bool(rule.buildpack) for rule in rules.rules) or len(rules.rules)
    head = f"{count}{f' from {origin}' if origin else ''}: "
    told = [rule for rule in rules.rules if rule.action != "ignore"] or list(rules.rules)
    words: list[str] = []
    for rule in told:
        word = f"{_short(rule.src[0])} {rule.action}"
        if len(head) + sum(len(w) + 2 for w in words) + len(word) > _RULES_WIDTH:
            return f"{head}{', '.join(words)}, ..." if words else f"{len(rules.rules)} (l: list them)"
        words.append(word)
    return head + ", ".join(words)


def rules_table(rules: SyncRules | None) -> list[str]:
    """All rules, one a line."""
    if rules is None or not rules.rules:
        return [rules_line(rules)]
    rows = [(rule.action, _listed(rule.src), _consequence(rule)) for rule in rules.rules]
    if not any("**" in rule.src for rule in rules.rules):
        rows.append(("rebuild", "everything else", ""))
    width = max(len(src) for _, src, _ in rows)
    return [f"{action:<8}  {src:<{width}}  {more}".rstrip() for action, src, more in rows]


def _listed(patterns: Sequence[str]) -> str:
    """Patterns, as far as a column goes; sync-rules lists them all."""
    shown = patterns[0]
    for count, pattern in enumerate(patterns[1:], 1):
        if len(shown) + len(pattern) + 2 > _PATTERNS_WIDTH:
            return f"{shown} and {len(patterns) - count} more"
        shown += f", {pattern}"
    return shown


def _consequence(rule: Rule) -> str:
    words = [f"runs {' '.join(rule.exec)}"] if rule.exec else []
    words += [f"to {rule.dest}"] if rule.dest else []
    words += [rule.why] if rule.why else []
    return ", ".join(words)


def _short(pattern: str) -> str:
    """`**/*.py` as `*.py`, `public/**` as `public`."""
    return "the rest" if pattern == "**" else pattern.removeprefix("**/").removesuffix("/**")


def ended(process: str, code: int, signal: int) -> str:
    """How a process ended."""
    return f"{process} was killed by signal {signal}" if signal else f"{process} ended with exit code {code}"
