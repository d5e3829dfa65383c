"""The phase `restore`: what the cache and the previous image's label bring back into <layers> (RES-08 - RES-19)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import RestoreError
from packrunner.events import Noted, StepDone
from packrunner.formats.analyzed import Analyzed, label_of
from packrunner.lifecycle import restore as restoration
from packrunner.lifecycle.analyze import RunImage, analyze
from packrunner.lifecycle.cache import CacheRecord
from packrunner.lifecycle.phases import caches, documents
from packrunner.lifecycle.phases.analyzing import target_of
from packrunner.lifecycle.repository import NO_BLOBS

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository
    from packrunner.lifecycle.restore import RestoreResult


def restore(setting: Setting, reporter: Reporter, images: Repository | None = None) -> RestoreResult:
    """Restore layers, metadata and SBOMs of the group; with `skip_layers` store.toml alone (RES-17).

    Where the images are known, a run image that an extension chose is looked up among them, for `extend` and `export`.
    """
    began = time.monotonic()
    group = documents.group(setting, RestoreError).group
    # Without an analyzed.toml there is no image to restore from (RES-01).
    present = os.path.exists(setting.files.analyzed)
    analyzed = documents.analyzed(setting, RestoreError) if present else Analyzed()
    label = label_of(analyzed.metadata)
    if images:
        _fix_run_image(setting, analyzed, images)
    cache = caches.opened(setting, images)
    if cache is None:
        reporter.emit(Noted(text="no cache was named, so no cached layer comes back"))
    result = restoration.restore(
        restoration.RestoreInputs(
            layers=setting.places.layers,
            owner=setting.owner,
            group=group,
            label=label,
            cache=cache.record() if cache else CacheRecord(),
            clear=setting.skip_layers,
            exec_env=setting.exec_env,
            platform_api=setting.platform_api,
            places=setting.places,
            foreign=True,
        ),
        store=cache or NO_BLOBS,
        reporter=reporter,
    )
    back = sum(decision.action != "dropped" for decision in result.decisions)
    reporter.emit(
        StepDone(
            phase="restore",
            subject=f"{back} of {len(result.decisions)} layers",
            detail="",
            seconds=time.monotonic() - began,
        )
    )
    return result


def _fix_run_image(setting: Setting, analyzed: Analyzed, images: Repository) -> None:
    """Give a run image that has only a name yet the reference that cannot move, and its target (EXT-08)."""
    chosen = analyzed.run_image
    if chosen is None or not chosen.image or chosen.reference != chosen.image:
        return
    image = images.read(chosen.image)
    if image is None:
        raise RestoreError(f"there is no run image {chosen.image}, which an extension chose", slug="run-image")
    run = RunImage(
        image=image, name=chosen.image, reference=images.pinned(chosen.image, image), target=target_of(image)
    )
    found = analyze(None, name="", run=run).analyzed.run_image
    assert found
    fixed = msgspec.structs.replace(found, extend=chosen.extend)
    documents.save(setting.files.analyzed, msgspec.structs.replace(analyzed, run_image=fixed), setting)
