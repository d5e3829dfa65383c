"""What `packrunner rebase` does: reads the image and its new base, puts one on the other, writes the result.

The rules are in rebase.py. The image that was read stays as it is unless it is also where the result goes (RBS-11).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases.installed import changes, installed, summary
from packrunner.bases.recipes import parse_image_name
from packrunner.errors import RebaseError
from packrunner.events import Noted, StepDone, StepStarted
from packrunner.formats.labels import read_lifecycle
from packrunner.images.transfer import read_image, replace_image, write_output
from packrunner.lifecycle.rebase import NewBase, read_label, rebase, run_image_name, split
from packrunner.names import ImageName, registry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from packrunner.bases.installed import Change
    from packrunner.events import Reporter
    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore, StoredImage
    from packrunner.images.transfer import Locator
    from packrunner.names import Digest


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Which image, on which run image (None: as the image says), and where to; no `outputs` mean in its own place.

    `name` is what the image is called in archives.
    """

    image: Locator
    name: str
    run_image: str | None
    force: bool
    outputs: tuple[Locator, ...] = ()
    tags: tuple[str, ...] = ()
    """Names in a registry, for what is rebased there."""
    created: str


class Rebased(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the image. `changes` is None where one of the bases does not say what is in it."""

    before: Digest
    image: Image
    old_base: str
    base: NewBase
    replaced: int
    changes: tuple[Change, ...] | None

    @property
    def changed(self) -> bool:
        """Whether the base was another one."""
        return self.image.digest != self.before


def run(job: Job, *, store: LocalStore, find: Callable[[str], Image | None], reporter: Reporter) -> Rebased:
    """Rebase; `find` gives a run image by its name. Raises RebaseError and what the store raises."""
    began = time.monotonic()
    with store.lease():
        app = read_image(job.image, store)
        label = read_label(app)
        base = new_base(job, label, find)
        reporter.emit(StepStarted(phase="base", subject=shown(base.name)))
        made = rebase(app, base, accept="repository", force=job.force, created=job.created)
        below, _ = split(app, label)
        old = old_base(label, below)
        if old == base.image.digest.hex and below == base.image.layers:
            result = Rebased(before=app.digest, image=app, old_base=old, base=base, replaced=0, changes=())
        else:
            had, has = installed(below, store), installed(base.image.layers, store)
            differing = None if had is None or has is None else changes(had, has)
            result = Rebased(
                before=app.digest, image=made, old_base=old, base=base, replaced=len(below), changes=differing
            )
            _tell(result, reporter, time.monotonic() - began)
        _write(job, result, store, reporter)
    return result


def old_base(label: dict[str, Any], below: Sequence[Layer]) -> str:
    """The digest of the base that the image is on, in hexadecimal; of one without, that of its last layer."""
    return str(label["runImage"].get("reference", "")).rpartition("sha256:")[2] or str(below[-1].diff_id)[7:]


def new_base(job: Job, label: dict[str, Any], find: Callable[[str], Image | None]) -> NewBase:
    """The run image to put it on. Raises RebaseError where there is none."""
    found: dict[str, Image | None] = {}

    def readable(name: str) -> bool:
        found[name] = find(name)
        return found[name] is not None

    name = run_image_name(label, job.run_image, registry=registry_of(job.name), readable=readable)
    image = found[name] if name in found else find(name)
    if image is None:
        raise RebaseError(f"there is no run image {name}", slug="rebase-run-image", tries=("packrunner images",))
    return NewBase(image=image, name=name, reference=f"{name}@{image.digest}")


def shown(name: str) -> str:
    """A run image's name for people: our own are `debian:13-python`."""
    return name.rpartition("/")[2] if parse_image_name(name) else name


def _tell(result: Rebased, reporter: Reporter, seconds: float) -> None:
    what = "packages not compared" if result.changes is None else summary(result.changes)
    detail = f"{result.old_base[:12]} -> {result.base.image.digest.short}, {what}"
    reporter.emit(StepDone(phase="base", subject=shown(result.base.name), detail=detail, seconds=seconds))
    for change in result.changes or ():
        reporter.emit(Noted(text=str(change)))


def _write(job: Job, result: Rebased, store: LocalStore, reporter: Reporter) -> None:
    began = time.monotonic()
    image = result.image
    if result.changed and not job.outputs:
        replace_image(job.image, image, store)
    for output in job.outputs:
        write_output(output, image, store, job.name)
    if not result.changed:
        return
    count = len(image.layers)
    kept = count - len(result.base.image.layers)
    reporter.emit(
        StepDone(
            phase="export",
            subject=f"{count} layers",
            detail=f"{result.replaced} replaced, {kept} kept; no buildpack ran",
            seconds=time.monotonic() - began,
        )
    )


def newer_base(image: Image, images: Mapping[str, Digest]) -> Digest | None:
    """The image that the name of an image's base means now, where that is another; `images` are the store's names."""
    run = read_lifecycle(dict(image.labels)).run_image
    current = images.get(ImageName(run.image).tagged) if run.image else None
    return current if current and not run.reference.endswith(current) else None


def behind(images: Sequence[StoredImage], bases: Collection[str]) -> tuple[str, ...]:
    """The names of images that are on an older version of one of the bases, by their names, than the store has."""
    names = {stored.name: stored.digest for stored in images}
    return tuple(stored.name for stored in images if _is_on(stored.image, bases) and newer_base(stored.image, names))


def _is_on(image: Image, bases: Collection[str]) -> bool:
    name = read_lifecycle(dict(image.labels)).run_image.image
    return bool(name) and ImageName(name).tagged in bases
