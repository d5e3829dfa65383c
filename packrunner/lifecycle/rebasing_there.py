"""What `packrunner rebase --push` does: an image of a registry on a newer base, and back, without pulling a layer.

Of both images only manifest and configuration are read; the layers stay where they are (RBS-01 - RBS-11).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from packrunner.errors import RebaseError
from packrunner.events import StepDone, StepStarted
from packrunner.lifecycle.rebase import read_label, rebase, split
from packrunner.lifecycle.rebasing import Rebased, new_base, old_base, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.lifecycle.rebasing import Job


def run(
    job: Job,
    *,
    read: Callable[[str], Image | None],
    push: Callable[[Image, Sequence[str]], Image],
    find: Callable[[str], Image | None],
    reporter: Reporter,
) -> Rebased:
    """Rebase the image `job.name`; `push` gives the image as the registry has it then. Raises RebaseError."""
    began = time.monotonic()
    app = read(job.name)
    if app is None:
        raise RebaseError(f"there is no image {job.name} in its registry", slug="rebase-image")
    label = read_label(app)
    base = new_base(job, label, find)
    reporter.emit(StepStarted(phase="base", subject=shown(base.name)))
    # Layers that the image has already are referred to as it has them, compressed.
    there = {layer.diff_id: layer.blob for layer in app.layers}
    made = rebase(app, base, accept="repository", force=job.force, created=job.created).with_blobs(there)
    below, _ = split(app, label)
    old = old_base(label, below)
    known = [layer.diff_id for layer in below] == [layer.diff_id for layer in base.image.layers]
    names = job.tags or (job.name,)
    if known and old == base.image.digest.hex:
        if job.tags:
            push(app, names)
        return Rebased(before=app.digest, image=app, old_base=old, base=base, replaced=0, changes=())
    detail = f"{old[:12]} -> {base.image.digest.short}, packages not compared"
    reporter.emit(StepDone(phase="base", subject=shown(base.name), detail=detail, seconds=time.monotonic() - began))
    return Rebased(
        before=app.digest, image=push(made, names), old_base=old, base=base, replaced=len(below), changes=None
    )
