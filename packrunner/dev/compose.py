"""Rules for Docker Compose: a service with `develop.watch`.

Compose tries all its entries with every changed file, so each leaves out what entries before it take: the first that
matches counts, as for rules. Compose can build from a Dockerfile only; what needs a new image is not in here, and
`packrunner compose up` sees to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packrunner.dev.covering import SETTLE, listed, sends, settles, target
from packrunner.dev.yamlfile import dump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.dev.covering import Project
    from packrunner.formats.sync import Rule, SyncRules

MADE_BY = "Made by packrunner compose init"
_COMMENT = f"""{MADE_BY}: the image that `packrunner build IMAGE --exec-env development --load` makes,
and what its buildpacks say about changed files. Start it: packrunner compose up"""


def render(rules: SyncRules, project: Project) -> str:
    """The file."""
    return text(document(rules, project, project.name))


def text(document: dict[str, Any]) -> str:
    """A document as a file."""
    return dump(document, _COMMENT)


def document(
    rules: SyncRules, project: Project, service: str, *, path: str = ".", adds: bool = False
) -> dict[str, Any]:
    """One service whose image is made by packrunner, for an application in `path`.

    Where it `adds` to a service of the user's, only what that cannot have.
    """
    # The Docker engine refuses to copy into containers whose user is a pair, as images of buildpacks have it.
    user = {"user": project.user} if project.user else {}
    port = str(project.port)
    about: dict[str, Any] = {"image": project.development, "pull_policy": "never", **user}
    if not adds:
        about |= {"environment": {"PORT": port}, "ports": [f"{port}:{port}"]}
    if entries := list(watch(rules, path)):
        about["develop"] = {"watch": entries}
    return {"services": {service: about}}


def watch(rules: SyncRules, path: str = ".") -> Iterator[dict[str, Any]]:
    """The entries of `develop.watch`, for an application in `path`."""
    earlier: list[str] = []
    for kind, there, sources in _runs(rules):
        if kind != "other":
            entry: dict[str, Any] = {"path": path, "action": kind, "target": there, "include": listed(sources)}
            if earlier:
                entry["ignore"] = listed(earlier)
            if kind == "sync+exec":
                entry["exec"] = {"command": list(SETTLE)}
            yield entry
        earlier += sources


def _runs(rules: SyncRules) -> Iterator[tuple[str, str, list[str]]]:
    """What follows each other and is treated alike, as one; patterns as Compose takes them."""
    current: tuple[str, str, list[str]] | None = None
    for rule in rules.rules:
        kind, there = _kind(rule), target(rules, rule)
        sources = [_pattern(src) for src in rule.src]
        if current and (kind, there) == current[:2]:
            current[2].extend(sources)
            continue
        if current:
            yield current
        current = kind, there, sources
    if current:
        yield current


def _kind(rule: Rule) -> str:
    if not sends(rule):
        return "other"
    return "sync+exec" if settles(rule) else "sync"


def _pattern(src: str) -> str:
    # A `*` alone in a list makes Compose forget the other patterns of the list.
    return "?*" if src == "*" else src
