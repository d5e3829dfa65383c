"""The phase `restore`: what the cache and the previous image's label bring back into <layers> (RES-08 - RES-19)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from packrunner.errors import RestoreError
from packrunner.events import Noted, StepDone
from packrunner.formats.analyzed import label_of
from packrunner.lifecycle import restore as restoration
from packrunner.lifecycle.cache import CacheRecord
from packrunner.lifecycle.cache_dir import CacheDirectory
from packrunner.lifecycle.phases import documents

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.restore import RestoreResult


def restore(setting: Setting, reporter: Reporter) -> RestoreResult:
    """Restore layers, metadata and SBOMs of the group; with `skip_layers` store.toml alone (RES-17)."""
    began = time.monotonic()
    group = documents.group(setting, RestoreError).group
    # Without an analyzed.toml there is no image to restore from (RES-01).
    present = os.path.exists(setting.files.analyzed)
    label = label_of(documents.analyzed(setting, RestoreError).metadata if present else {})
    cache = CacheDirectory(setting.cache_dir)
    known = cache.record() if setting.cache_dir else CacheRecord()
    if not setting.cache_dir:
        reporter.emit(Noted(text="no cache was named, so no cached layer comes back"))
    result = restoration.restore(
        restoration.RestoreInputs(
            layers=setting.places.layers,
            owner=setting.owner,
            group=group,
            label=label,
            cache=known,
            clear=setting.skip_layers,
            exec_env=setting.exec_env,
            platform_api=setting.platform_api,
            places=setting.places,
            foreign=True,
        ),
        store=cache,
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
