"""The phase `rebase`: an application's layers on another run image (RBS-01 - RBS-11)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import RebaseError
from packrunner.events import StepDone
from packrunner.lifecycle.created import created_at
from packrunner.lifecycle.export import report
from packrunner.lifecycle.phases import documents
from packrunner.lifecycle.rebase import NewBase, read_label, run_image_name
from packrunner.lifecycle.rebase import rebase as put_on
from packrunner.lifecycle.repository import NO_BLOBS
from packrunner.names import registry_of

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.lifecycle.phases.analyzing import Targets
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository


class Rebasing(msgspec.Struct, frozen=True, kw_only=True):
    """Which image, on which run image, under which names; `force` overrides what makes that unsafe."""

    targets: Targets
    force: bool = False
    source_date_epoch: str | None = None


def rebase(setting: Setting, wanted: Rebasing, images: Repository, reporter: Reporter) -> Image:
    """Write the rebased image under all names, and report.toml. Raises RebaseError (72)."""
    began = time.monotonic()
    names = wanted.targets.names
    # It is read only: unless it is a name of the result too, it stays what it is (RBS-11).
    source = wanted.targets.previous or names[0]
    app = images.read(source)
    if app is None:
        raise RebaseError(f"there is no image {source}", slug="rebase-image")
    name = run_image_name(
        read_label(app),
        wanted.targets.run_image or None,
        registry=registry_of(names[0]),
        readable=lambda candidate: images.read(candidate) is not None,
    )
    base = images.read(name)
    if base is None:
        raise RebaseError(f"there is no run image {name}", slug="rebase-run-image")
    made = put_on(
        app,
        NewBase(image=base, name=name, reference=images.recorded(name, base)),
        # Platforms below 0.12 take any run image (RBS-03).
        accept="recorded" if setting.features.run_toml else "any",
        force=wanted.force,
        created=created_at(wanted.source_date_epoch if setting.features.source_date_epoch else None, reporter),
    )
    there, failed = images.write(made, names, NO_BLOBS)
    if failed:
        raise RebaseError(
            f"the image could not be written as {', '.join(failed)}",
            slug="image-write",
            cause="; ".join(f"{place}: {why}" for place, why in failed.items()),
        )
    documents.save(setting.files.report, report(there, names), setting)
    reporter.emit(StepDone(phase="rebase", subject=names[0], detail=f"on {name}", seconds=time.monotonic() - began))
    return there
