"""Rebase: an application's layers on another run image; nothing runs, and no layer is read (RBS-01 - RBS-10). Pure.

    previous image   | base layers ... runImage.topLayer | the application's |
    run image        | all of its layers                 |
    result           | all of its layers                 | the application's |

Configuration and labels stay the application's, but for those that describe the base.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packrunner.errors import RebaseError
from packrunner.formats import labels
from packrunner.formats.api import rebases_by_target
from packrunner.images.image import CREATED
from packrunner.lifecycle.analyze import STACK_ID
from packrunner.names import canonical_image, registry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.images.image import Image, Layer

Accept = Literal["recorded", "repository", "any"]

OWN_BASE = "io.packrunner.base"
"""On packrunner's own run images: which lock they are made from."""

_OF_THE_BASE = ("io.buildpacks.base.", "io.buildpacks.stack.", OWN_BASE)
_MIXINS = "io.buildpacks.stack.mixins"
_DISTRO = ("io.buildpacks.base.distro.name", "io.buildpacks.base.distro.version")
_OF_THE_PLATFORM = ("os.version", "os.features")


class NewBase(msgspec.Struct, frozen=True, kw_only=True):
    """The run image to put an application on: `name` as it was asked for, `reference` the same fixed by digest."""

    image: Image
    name: str
    reference: str


def rebase(
    app: Image, base: NewBase, *, accept: Accept = "recorded", force: bool = False, created: str = CREATED
) -> Image:
    """The application on the new base. Raises RebaseError (72).

    `accept` says which run images are welcome without force: the recorded one and its mirrors (RBS-03), others of
    the same repository too where the distribution is the same, or any, as platforms below 0.12 have it.
    """
    label = read_label(app)
    _, own = split(app, label)
    if not force and app.labels.get(labels.REBASABLE) == "false":
        raise _refused(
            "the image says that it must not be rebased", f"{labels.REBASABLE} is false", slug="rebase-refused"
        )
    _check_platform(app, base.image, force=force)
    known = canonical_image(base.name) in {canonical_image(name) for name in _recorded(label)}
    if not (known or force):
        _check_name(app, base, label, accept)
    rewritten = _label(label, base, rename=not known and (force or accept == "repository"))
    # Keys keep their order: the same image, built anew on that base, has the same digest.
    text = json.dumps(rewritten, separators=(",", ":"), ensure_ascii=False)
    return _composed(app, base.image, own, text).with_created(created)


def read_label(app: Image) -> dict[str, Any]:
    """The lifecycle's label, with all that is in it (RBS-08). Raises RebaseError where a lifecycle did not write it."""
    try:
        label = json.loads(app.labels.get(labels.LIFECYCLE, ""))
    except ValueError:
        label = None
    if isinstance(label, dict) and isinstance(label.get("runImage"), dict):
        return label
    raise RebaseError(
        "the image was not built from buildpacks, or says nothing of its base",
        slug="rebase-image",
        cause=f"its label {labels.LIFECYCLE} is {'damaged' if labels.LIFECYCLE in app.labels else 'missing'}",
        tries=("packrunner build",),
    )


def split(app: Image, label: dict[str, Any]) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers of the base and the application's own (RBS-01).

    Base images repeat layers, above all empty ones: of several places the highest counts that leaves every layer
    which the label names to the application.
    """
    top = label["runImage"].get("topLayer")
    ends = [i + 1 for i, layer in enumerate(app.layers) if layer.diff_id == top]
    if not ends:
        raise RebaseError(
            "the image has no layer that is the top of its base",
            slug="rebase-top-layer",
            cause=f"its label names {str(top)[:80] or 'none'}",
            tries=("packrunner build",),
        )
    own = _shas(label)
    fitting = [end for end in ends if own <= {layer.diff_id for layer in app.layers[end:]}]
    end = max(fitting, default=ends[0])
    return app.layers[:end], app.layers[end:]


def run_image_name(
    label: dict[str, Any], explicit: str | None, *, registry: str, readable: Callable[[str], bool]
) -> str:
    """Which run image to take (RBS-02): the explicit one, else the first readable one that the label records.

    Those on `registry`, the application image's, come first. Raises RebaseError.
    """
    if explicit:
        return explicit
    known = [name for name in _names(label["runImage"]) or _names(_stack(label)) if name]
    near = [name for name in known if registry_of(name) == registry]
    for name in dict.fromkeys((*near, *known)):
        if readable(name):
            return name
    raise RebaseError(
        "no run image to rebase on is there" if known else "the image does not say what its base is called",
        slug="rebase-run-image",
        cause=f"looked for {', '.join(known)}" if known else None,
        tries=("packrunner rebase IMAGE --run-image NAME",),
    )


def _shas(label: Any) -> set[str]:
    """The diff ids of the application's layers, wherever the label has them."""
    if isinstance(label, list):
        return set().union(*map(_shas, label))
    if not isinstance(label, dict):
        return set()
    sha = label.get("sha")
    found = {sha} if isinstance(sha, str) and sha else set()
    # What buildpacks say of their layers may hold a `sha` of anything.
    return found.union(*(_shas(value) for key, value in label.items() if key not in {"data", "store", "runImage"}))


def _stack(label: dict[str, Any]) -> dict[str, Any]:
    stack = label.get("stack")
    found = stack.get("runImage") if isinstance(stack, dict) else None
    return found if isinstance(found, dict) else {}


def _names(table: dict[str, Any]) -> list[str]:
    return [str(name) for name in (table.get("image"), *(table.get("mirrors") or ())) if name]


def _recorded(label: dict[str, Any]) -> list[str]:
    return [*_names(label["runImage"]), *_names(_stack(label))]


def _label(label: dict[str, Any], base: NewBase, *, rename: bool) -> dict[str, Any]:
    """The label with the new base in it; all else stays (RBS-04, RBS-08)."""
    top = str(base.image.layers[-1].diff_id) if base.image.layers else ""
    run = {**label["runImage"], "topLayer": top, "reference": base.reference}
    if not rename:
        return {**label, "runImage": run}
    run.pop("mirrors", None)
    return {**label, "runImage": {**run, "image": base.name}, "stack": {"runImage": {"image": base.name}}}


def _composed(app: Image, base: Image, own: Sequence[Layer], label: str) -> Image:
    """New base below, the application's settings above it (RBS-01, RBS-09, RBS-10)."""
    of_the_app = {key: value for key, value in app.labels.items() if not key.startswith(_OF_THE_BASE)}
    of_the_base = {key: value for key, value in base.labels.items() if key.startswith(_OF_THE_BASE)}
    extra = {key: value for key, value in app.extra_top.items() if key not in _OF_THE_PLATFORM}
    extra |= {key: value for key, value in base.extra_top.items() if key in _OF_THE_PLATFORM}
    return app.with_base(
        base,
        layers=(*base.layers, *own),
        labels={**of_the_app, **of_the_base, labels.LIFECYCLE: label},
        extra_top=extra,
    )


def _check_platform(app: Image, base: Image, *, force: bool) -> None:
    """RBS-06 and RBS-07: old application images know their distribution by the stack's id, and force is no way out."""
    by_target = rebases_by_target(app.get_env("CNB_PLATFORM_API") or "")
    if not by_target:
        _check_stack(app, base)
    pairs = [("operating system", app.os, base.os), ("architecture", app.architecture, base.architecture)]
    if app.variant and base.variant:
        pairs.append(("variant", app.variant, base.variant))
    if by_target:
        declared = [key for key in _DISTRO if base.labels.get(key)]
        pairs += [(key.removeprefix("io.buildpacks."), app.labels.get(key, ""), base.labels[key]) for key in declared]
    for what, mine, other in pairs:
        if mine != other and not force:
            raise _refused(
                f"the new base is for another {what}",
                f"the image is for {mine or 'an unknown one'}, the base for {other or 'an unknown one'}",
                slug="rebase-target",
            )


def _check_stack(app: Image, base: Image) -> None:
    mine, other = app.labels.get(STACK_ID, ""), base.labels.get(STACK_ID, "")
    if not mine or mine != other:
        raise RebaseError(
            "the new base is of another stack",
            slug="rebase-stack",
            cause=f"the image is of {mine or 'none'}, the base of {other or 'none'}",
            tries=("packrunner build",),
        )
    missing = _mixins(app) - _mixins(base)
    if missing:
        raise RebaseError(
            "the new base lacks what the image was built for",
            slug="rebase-stack",
            cause=f"missing mixins: {', '.join(sorted(missing))}",
            tries=("packrunner build",),
        )


def _mixins(image: Image) -> set[str]:
    try:
        listed = json.loads(image.labels.get(_MIXINS, "[]"))
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise RebaseError(f"the label {_MIXINS} cannot be read", slug="rebase-stack")
    return {str(name).removeprefix("build:").removeprefix("run:") for name in listed}


def _check_name(app: Image, base: NewBase, label: dict[str, Any], accept: Accept) -> None:
    if accept == "any":
        return
    if accept == "repository":
        wanted = {_repository(name) for name in _recorded(label)}
        same = all(app.labels.get(key) == base.image.labels.get(key) for key in _DISTRO)
        if same and _repository(base.name) in wanted:
            return
    raise _refused(
        f"{base.name} is not what the image was built on",
        f"it was built on {', '.join(dict.fromkeys(_recorded(label))) or 'a base without a name'}",
        slug="rebase-name",
    )


def _repository(name: str) -> str:
    return canonical_image(name).rpartition(":")[0]


def _refused(brief: str, cause: str, *, slug: str) -> RebaseError:
    return RebaseError(brief, slug=slug, cause=cause, tries=("--force, if you know that it will run there",))
