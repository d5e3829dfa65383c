"""Rules for Skaffold: an artifact with a custom builder and manual sync rules.

Skaffold copies what any rule's glob matches, and builds anew when a changed file is matched by none: there is neither
order nor exception. A pattern that would also take what an earlier rule keeps back is written out: as the kinds of file
that the application has, and where a kind is not alike throughout, file by file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packrunner.dev.covering import SETTLE, files, root, sends, settles, target
from packrunner.dev.overlap import meets
from packrunner.dev.patterns import ANY, matches
from packrunner.dev.rules import decide
from packrunner.dev.yamlfile import dump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.dev.covering import Project
    from packrunner.formats.sync import Rule, SyncRules

API = "skaffold/v4beta13"
BUILD = (
    'packrunner build "$IMAGE" --path "$BUILD_CONTEXT" --exec-env development '
    '$([ "$PUSH_IMAGE" = true ] && echo --push || echo --load)'
)
_COMMENT = """What `packrunner sync-rules --format skaffold` gives: the buildpacks say what becomes of changed files.
Add `deploy` and `manifests`; the image is made by packrunner, without a Dockerfile."""


def render(rules: SyncRules, project: Project) -> str:
    """The file."""
    return dump(document(rules, project), _COMMENT)


def document(rules: SyncRules, project: Project) -> dict[str, Any]:
    """skaffold.yaml with the one artifact."""
    dependencies: dict[str, Any] = {"paths": ["**"]}
    if without := _ignored(rules):
        dependencies["ignore"] = without
    artifact: dict[str, Any] = {
        "image": project.image,
        "context": ".",
        "custom": {"buildCommand": BUILD, "dependencies": dependencies},
    }
    if manual := _manual(rules, project.path):
        artifact["sync"] = {"manual": manual}
        if any(settles(rule) for rule in rules.rules):
            artifact["sync"]["hooks"] = {"after": [{"container": {"command": list(SETTLE)}}]}
    return {
        "apiVersion": API,
        "kind": "Config",
        "metadata": {"name": project.name},
        "build": {"artifacts": [artifact]},
    }


def _ignored(rules: SyncRules) -> list[str]:
    """What can be ignored without an exception; other files that nobody needs cost a build at worst."""
    found: list[str] = []
    before: list[str] = []
    for rule in rules.rules:
        if rule.action == "ignore":
            found += [src for src in rule.src if not any(meets(src, other) for other in before)]
        else:
            before += rule.src
    return found


def _manual(rules: SyncRules, app: str) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    without = _ignored(rules)
    for i, rule in enumerate(rules.rules):
        if sends(rule):
            kept = [src for other in rules.rules[:i] if not _alike(rules, rule, other) for src in other.src]
            kept = [src for src in kept if src not in without]
            for src in rule.src:
                taken = [glob for glob, dest in found.items() if dest == target(rules, rule)]
                for glob in _globs(rules, rule, src, (kept, taken), app):
                    found.setdefault(glob, target(rules, rule))
    # A file that two globs take to the same place would be copied twice.
    return [{"src": glob, "dest": dest} for glob, dest in found.items() if not _inside(glob, dest, found)]


def _alike(rules: SyncRules, rule: Rule, other: Rule) -> bool:
    """Whether it does not matter which of two rules a file falls to."""
    return sends(other) and target(rules, other) == target(rules, rule)


def _globs(rules: SyncRules, rule: Rule, src: str, others: tuple[list[str], list[str]], app: str) -> list[str]:
    """A pattern as globs that mean nothing of what is kept back, and are needed beside those there are."""
    kept, taken = others
    if not any(meets(src, other) for other in kept):
        return [src]
    found: dict[str, None] = {}
    for path in files(rules, app, (src,)):
        if decide(rules, path) is rule and not any(matches(glob, path) for glob in (*found, *taken)):
            allowed = (glob for glob in _kinds(path, src) if not any(meets(glob, other) for other in kept))
            found[next(allowed, path)] = None
    return list(found)


def _kinds(path: str, src: str) -> Iterator[str]:
    """Globs within `src` that mean the file `path` and others of its kind, the widest first."""
    base = root(src)
    inner = src.removeprefix(base).lstrip("/").removeprefix(ANY).lstrip("/")
    top, deep, _ = path.removeprefix(base).lstrip("/").partition("/")
    directory, _, name = path.rpartition("/")
    end = name.rpartition(".")
    alike = f"*.{end[2]}" if end[0] else ""
    globs = [_joined(base, inner), _joined(base, top, ANY, inner)] if inner else []
    if not inner and deep:
        globs = [_joined(base, top, ANY), _joined(base, top, ANY, alike or name)]
    if not inner and alike:
        globs.append(_joined(directory, alike))
    return (glob for glob in globs if matches(glob, path))


def _joined(*names: str) -> str:
    return "/".join(filter(None, names))


def _inside(glob: str, dest: str, all_globs: dict[str, str]) -> bool:
    """Whether another glob, with the same destination, certainly takes all that this one does."""
    return any(
        other != glob and there == dest and _contains(other, glob) and not (_contains(glob, other) and other > glob)
        for other, there in all_globs.items()
    )


def _contains(outer: str, inner: str) -> bool:
    if outer == "**":
        return True
    if outer.endswith("/**") and "*" not in outer[:-3]:
        return inner.startswith(outer[:-2])
    head, _, tail = outer.rpartition("**/*.")
    return bool(tail) and "*" not in head + tail and inner.startswith(head) and inner.endswith(f".{tail}")
