"""Whether a build image, a run image and buildpacks go together (IMG-03, STK-02). Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import UsageError
from packrunner.formats.api import platform_features

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packrunner.formats.buildpack import Stack
    from packrunner.formats.platform import RunTarget

STACK_ID = "io.buildpacks.stack.id"
MIXINS = "io.buildpacks.stack.mixins"
_BUILD, _RUN = "build:", "run:"


def check_platforms(build: RunTarget, run: RunTarget, *, name: str) -> None:
    """Raises UsageError (`run-image-platform`) where what is built in one image cannot run on the other (IMG-03)."""
    for what, mine, theirs in zip(("system", "architecture", "variant"), build[:3], run[:3], strict=True):
        if mine and theirs and mine != theirs:
            raise UsageError(
                f"{name} is an image for another {what}: {theirs}",
                slug="run-image-platform",
                cause=f"buildpacks run on {build}, and what they make has to run there",
                tries=("--run-image with an image for this platform",),
            )


class Suit(msgspec.Struct, frozen=True):
    """The labels of a build image and a run image, and the Platform API that they meet at."""

    build: Mapping[str, str]
    run: Mapping[str, str]
    platform_api: str


def doubts(suit: Suit, build: RunTarget, run: RunTarget) -> list[str]:
    """Warnings about a build image and a run image: other distributions, other stacks."""
    return [text for text in (distributions(build, run), stacks(suit.build, suit.run)) if text]


def check_mixins(suit: Suit, wanted: Iterable[tuple[str, Iterable[Stack]]]) -> None:
    """Raises UsageError (`run-image-mixins`) for a builder from before Platform API 0.12 (STK-02)."""
    wrong = () if platform_features(suit.platform_api).targets else mixins(suit.build, suit.run, wanted)
    if wrong:
        raise UsageError(
            "the build image, the run image and the buildpacks do not go together",
            slug="run-image-mixins",
            cause="; ".join(wrong),
            tries=("--run-image with one that has what is missing", "--builder with a newer one"),
        )


def distributions(build: RunTarget, run: RunTarget) -> str:
    """What is doubtful about two distributions; "" where they agree, or one states none."""
    pairs = [(mine, theirs) for mine, theirs in zip(build[3:], run[3:], strict=True) if mine and theirs]
    if all(mine == theirs for mine, theirs in pairs):
        return ""
    here, there = (" ".join(filter(None, target[3:])) for target in (build, run))
    return f"the run image is {there}, the build image {here}: what is compiled may not run"


def stacks(build: Mapping[str, str], run: Mapping[str, str]) -> str:
    """A warning for a run image of another stack (STK-02); "" where an image names none, as all may by now."""
    mine, theirs = build.get(STACK_ID, ""), run.get(STACK_ID, "")
    differ = mine and theirs and mine != theirs
    return f"the run image is of the stack {theirs}, the build image of {mine}" if differ else ""


def mixins(
    build: Mapping[str, str], run: Mapping[str, str], wanted: Iterable[tuple[str, Iterable[Stack]]]
) -> tuple[str, ...]:
    """What is wrong with the mixins of two images and of buildpacks, by id; asked before Platform API 0.12 only.

    The run image has all mixins of the build image that are for no stage, neither has those of the other's stage, and
    what a buildpack's entry for this stack names is there: in its stage where it has one, else in both.
    """
    here, there = _mixins(build), _mixins(run)
    found = [f"the build image has {m}, which is for run images" for m in sorted(here) if m.startswith(_RUN)]
    found += [f"the run image has {m}, which is for build images" for m in sorted(there) if m.startswith(_BUILD)]
    found += [f"the run image lacks {m}" for m in sorted(here - there) if not m.startswith((_BUILD, _RUN))]
    for buildpack, entries in wanted:
        needed = {m for entry in entries if entry.id in {build.get(STACK_ID), "*"} for m in entry.mixins}
        found += [f"{buildpack} needs {m}" for m in sorted(needed) if not _has(m, here, there)]
    return tuple(found)


def _has(mixin: str, build: set[str], run: set[str]) -> bool:
    plain = mixin.removeprefix(_BUILD).removeprefix(_RUN)
    in_build = bool({plain, _BUILD + plain} & build)
    in_run = bool({plain, _RUN + plain} & run)
    if mixin.startswith(_BUILD):
        return in_build
    return in_run if mixin.startswith(_RUN) else in_build and in_run


def _mixins(labels: Mapping[str, str]) -> set[str]:
    """The names in the label; none where it cannot be read."""
    try:
        names = json.loads(labels.get(MIXINS, "[]"))
    except ValueError:
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
