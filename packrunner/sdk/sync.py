"""Sync rules: what buildpacks state as metadata of the plan entry `live-reload`, checked and merged.

The buildpack that provides `live-reload` puts the result into the image, packrunner shows and obeys the same. A rule
that cannot be meant as it is written is left out and explained: its files fall to a later rule, at worst to a rebuild.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .toml import Value

    Rule = dict[str, Value]
    Rules = dict[str, Value]

PLAN_ENTRY = "live-reload"
LABEL = "io.packrunner.sync"
VERSION = 1
WORKSPACE = "/workspace"
ACTIONS = ("sync", "reload", "restart", "rebuild", "ignore")

PASSING: Rule = {
    "src": [
        *("**/.git/**", "**/.idea/**", "**/.vscode/**", "**/.DS_Store"),
        *("**/.*.sw?", "**/*~", "**/4913", "**/.#*", "**/#*#", "**/*___jb_???___", "**/.goutputstream-*"),
    ],
    "action": "ignore",
    "buildpack": "",
    "why": "of editors and git, not of the application",
}
"""What stands before the rules of all buildpacks: vim's swap file in the directory is no reason to restart."""

_ANY = "**"
_TEXTS = ("dest", "buildpack", "why")
_LISTS = ("src", "exec")
_NOT_THE_APPLICATIONS = ("/proc", "/sys", "/dev", "/cnb")
_NOT_COPIED = ("rebuild", "ignore")


class BadRule(Exception):  # noqa: N818 - a rule, not this program, is at fault
    """Why a rule cannot be meant as it is written."""


def merge(stated: Iterable[Mapping[str, object]], *, workspace: str = WORKSPACE) -> tuple[Rules, list[str]]:
    """One set of rules from the metadata of each `live-reload`, in group order; and what is wrong, for people to read.

    The first rule that matches a path counts, so what earlier buildpacks say goes before what later ones say. PASSING
    is in front of all of them; a rule for everything is a default, and comes at the end. Of several defaults the first
    is taken, and nothing is wrong: a Procfile's is for applications in which no language has one.
    """
    versions: dict[str, Value] = {}
    warnings: list[str] = []
    named: list[tuple[int, Rule]] = []
    for one in stated:
        author = str(one.get("buildpack", "")) or "a buildpack without a name"
        versions[author] = str(one.get("version", ""))
        named += _checked(author, one.get("rules", ()), warnings)
    named.sort(key=lambda pair: pair[1]["src"] == [_ANY])
    rules: list[Rule] = []
    for number, rule in named:
        before = _before(rule, rules)
        if before is not None and rule["src"] == before["src"] == [_ANY]:
            continue
        if before is not None and _differ(before, rule):
            warnings.append(
                f"{rule['buildpack']}: sync rule {number}{_shown(rule)} never applies, because {before['buildpack']} "
                f"says {_words(before)} first"
            )
        rules.append(rule)
    if rules:
        rules.insert(0, PASSING)
    return {"version": VERSION, "workspace": workspace, "rules": rules, "buildpacks": versions}, warnings


def _checked(author: str, listed: object, warnings: list[str]) -> Iterator[tuple[int, Rule]]:
    """One buildpack's rules, with their numbers; `warnings` gets what is said about those that are left out."""
    if not isinstance(listed, list | tuple):
        warnings.append(f"{author}: its sync rules are not a list; left out")
        return
    for number, rule in enumerate(listed, start=1):
        try:
            yield number, {**check(rule), "buildpack": author}
        except BadRule as wrong:
            warnings.append(f"{author}: sync rule {number}{_shown(rule)}: {wrong}; the rule is left out")


def check(rule: object) -> Rule:
    """The rule with its known keys. Raises BadRule."""
    if not isinstance(rule, dict):
        raise BadRule("not a table")
    for key in rule:
        if key not in {*_TEXTS, *_LISTS, "action"}:
            raise BadRule(f"unknown key {_quoted(key)}")
    for key in (*_TEXTS, "action"):
        if not isinstance(rule.get(key, ""), str):
            raise BadRule(f"`{key}` is not text")
    for key in _LISTS:
        value = rule.get(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise BadRule(f"`{key}` is not a list of texts")
    _check_content(rule)
    return {key: list(value) if key in _LISTS else value for key, value in rule.items() if value}


def _check_content(rule: Mapping[str, Sequence[str]]) -> None:
    action = rule.get("action", "")
    if action not in ACTIONS:
        raise BadRule(f"unknown action {_quoted(action)}: it is one of {', '.join(ACTIONS)}")
    if not rule.get("src"):
        raise BadRule("`src` has no pattern")
    for pattern in rule["src"]:
        problem = pattern_problem(pattern)
        if problem:
            raise BadRule(f"pattern {_quoted(pattern)}: {problem}")
    command = rule.get("exec", ())
    if command and action in _NOT_COPIED:
        raise BadRule(f"`exec` does not go with {action}: nothing is copied")
    if command and (not command[0] or any("\0" in word for word in command)):
        raise BadRule("`exec` is no command")
    problem = _dest_problem(str(rule.get("dest", "")))
    if problem:
        raise BadRule(f"dest {_quoted(rule['dest'])}: {problem}")


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern; empty for a good one."""
    if not pattern:
        return "empty"
    if not pattern.isprintable():
        return "has control characters"
    if pattern[0] == "/":
        return "absolute; patterns are relative to the application"
    if "\\" in pattern or any(c in pattern for c in "[]{}") or pattern[0] == "!":
        return "of the special characters only * and ? are understood"
    for name in pattern.split("/"):
        if not name:
            return "has an empty name; for all that is in a directory write DIR/**"
        if name in {".", ".."}:
            return f"has the name {name}"
        if _ANY in name and name != _ANY:
            return "** stands for whole names only"
    return ""


def _dest_problem(dest: str) -> str:
    if not dest:
        return ""
    if not dest.isprintable():
        return "has control characters"
    names = dest.split("/")
    if names[0] or not all(names[1:]):
        return "not an absolute directory of the image"
    if "." in names or ".." in names:
        return "leads outside of where it begins"
    if any(dest == one or dest.startswith(f"{one}/") for one in _NOT_THE_APPLICATIONS):
        return "not a place for files of an application"
    return ""


def _before(rule: Rule, earlier: Sequence[Rule]) -> Rule | None:
    """The rule that takes everything this one means, in part at least: the first of those that leave nothing."""
    found = None
    for pattern in _texts(rule, "src"):
        taken = next((one for one in earlier if any(covers(p, pattern) for p in _texts(one, "src"))), None)
        if taken is None:
            return None
        if found is None or _differ(taken, rule):
            found = taken
    return found


def covers(wide: str, narrow: str) -> bool:
    """Whether all that `narrow` means is surely meant by `wide`: True is certain, False is not."""
    return _covers(wide.split("/"), narrow.split("/"))


def _covers(wide: list[str], narrow: list[str]) -> bool:
    """By the names of both: `reach` are the numbers of names of `narrow` that the names of `wide` so far can take."""
    reach = {0}
    for name in wide:
        if name == _ANY:
            reach = set(range(min(reach), len(narrow) + 1)) if reach else reach
        else:
            reach = {i + 1 for i in reach if i < len(narrow) and narrow[i] != _ANY and _name_covers(name, narrow[i])}
    # `public/**` means `public` too, and so does a narrow pattern's last `**`, which stands for no name as well.
    return len(narrow) in reach


def _name_covers(wide: str, narrow: str) -> bool:
    """The same for one name; a star of `narrow` is a character that only a star can take."""
    reach = {0}
    for c in wide:
        if c == "*":
            reach = set(range(min(reach), len(narrow) + 1)) if reach else reach
        else:
            reach = {i + 1 for i in reach if i < len(narrow) and (narrow[i] == c or (c == "?" and narrow[i] != "*"))}
    return len(narrow) in reach


def _differ(one: Rule, other: Rule) -> bool:
    return any(one.get(key) != other.get(key) for key in ("action", "exec", "dest"))


def _texts(rule: Rule, key: str) -> Sequence[str]:
    value = rule.get(key, ())
    return [str(one) for one in value] if isinstance(value, list | tuple) else ()


def _shown(rule: object) -> str:
    """The rule in brackets, for finding it in its buildpack."""
    words = _words(rule) if isinstance(rule, dict) else ""
    return f" ({words})" if words else ""


def _words(rule: Mapping[str, object]) -> str:
    src = rule.get("src")
    patterns = [str(one) for one in src] if isinstance(src, list | tuple) else []
    more = f" and {len(patterns) - 1} more" if len(patterns) > 1 else ""
    return f"{_quoted(patterns[0])}{more} {rule.get('action', '')}".strip() if patterns else ""


def _quoted(text: object) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in str(text))
    return f"`{shown if len(shown) <= 80 else shown[:79] + '…'}`"
