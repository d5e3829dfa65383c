"""What a builder is, for `packrunner builder inspect`: who builds, on which run images, with which buildpacks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.console import units
from packrunner.console.redact import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.builder import Recipe
    from packrunner.formats.buildpack import GroupRef, OrderGroup
    from packrunner.formats.run import RunImageEntry


class BuilderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that `builder inspect` says; what a builder does not say of itself is empty."""

    reference: str
    digest: str
    platform: str
    user: tuple[int, int]
    platform_api: str
    run_images: tuple[RunImageEntry, ...]
    buildpacks: tuple[tuple[str, str], ...]
    order: tuple[OrderGroup, ...]
    extensions: tuple[OrderGroup, ...] = ()
    before: tuple[GroupRef, ...] = ()
    after: tuple[GroupRef, ...] = ()
    description: str = ""
    made_by: str = ""
    lifecycle: str = ""
    stack: str = ""
    recipe: Recipe | None = None
    resolved_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON's own types."""
        return {
            "builder": self.reference,
            "digest": self.digest,
            "platform": self.platform,
            "user": {"uid": self.user[0], "gid": self.user[1]},
            "platform_api": self.platform_api,
            "run_images": [{"image": one.image, "mirrors": list(one.mirrors)} for one in self.run_images],
            "buildpacks": [{"id": identity, "version": version} for identity, version in self.buildpacks],
            "order": [_group(group.group) for group in self.order],
            "extensions": [_group(group.group) for group in self.extensions],
            "system": {"pre": _group(self.before), "post": _group(self.after)},
            "description": self.description,
            "made_by": self.made_by,
            "lifecycle": self.lifecycle,
            "stack": self.stack,
            "recipe": None if self.recipe is None else msgspec.to_builtins(self.recipe),
        }


def _group(refs: Sequence[GroupRef]) -> list[dict[str, Any]]:
    return [{"id": ref.id, "version": ref.version, "optional": ref.optional} for ref in refs]


def page(found: BuilderFacts) -> list[str]:
    """The page for people."""
    api = f"Platform API {found.platform_api}"
    lines = [f"{found.reference}@{units.short(found.digest)}   {found.platform}", ""]
    for label, rows in (
        ("about", [found.description]),
        ("made by", [found.made_by]),
        ("builds as", ["{}:{}".format(*found.user)]),
        ("lifecycle", [f"{found.lifecycle}, used at {api}" if found.lifecycle else f"packrunner's, {api}"]),
        ("stack", [found.stack]),
        ("recipe", _recipe(found)),
        ("lock", _lock(found)),
        ("run images", [", or ".join(one.names) for one in found.run_images]),
        ("buildpacks", [f"{identity} {version}".strip() for identity, version in found.buildpacks]),
        ("order", [_shown(group.group) for group in found.order]),
        ("extensions", [_shown(group.group) for group in found.extensions]),
        ("always", [_shown(refs) for refs in (found.before, found.after) if refs]),
        ("more", ["builder inspect --json"]),
    ):
        shown = [row for row in rows if row.strip()]
        lines += [f"  {label if i == 0 else '':<10}  {visible(row)}".rstrip() for i, row in enumerate(shown)]
    return lines


def _recipe(found: BuilderFacts) -> list[str]:
    """A line for each image that the recipe makes, with what it adds to its variant."""
    recipe = found.recipe
    if recipe is None or not (recipe.run or recipe.build.packages or recipe.build.exclude):
        return []
    images = [("build", recipe.build), *((one.image, one) for one in recipe.run)]
    lines = []
    for name, one in images:
        added = f" with {', '.join(one.packages)}" if one.packages else ""
        left = f" without {', '.join(one.exclude)}" if one.exclude else ""
        begin = "" if one.variant in {"", name} else f"{one.variant} of " if one.variant != "none" else "nothing of "
        lines.append(f"{name}: {begin}{recipe.suite}{added}{left}")
    return lines


def _lock(found: BuilderFacts) -> list[str]:
    recipe = found.recipe
    if recipe is None:
        return []
    counts = ", ".join(f"{count} in {image}" for image, count in recipe.packages.items())
    when = time.strftime(", resolved on %Y-%m-%d", time.gmtime(found.resolved_at)) if found.resolved_at else ""
    return [f"{units.short(recipe.lock)}{when}", f"packages: {counts}"]


def _shown(refs: Sequence[GroupRef]) -> str:
    """`a@1, b@2 (optional)`."""
    named = (f"{ref.id}@{ref.version}" if ref.version else ref.id for ref in refs)
    return ", ".join(f"{name} (optional)" if ref.optional else name for name, ref in zip(named, refs, strict=True))
