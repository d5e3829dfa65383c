"""The versions that `packrunner dev` runs: built one at a time, or known to be as the last time."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from packrunner.cli.wiring import building, places
from packrunner.dev import rules
from packrunner.dev.doors import Built, Unbuilt, Version
from packrunner.dev.recording import Recorder
from packrunner.errors import PackrunnerError, StoppedError, UsageError
from packrunner.record import Record, Scan, environment_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from packrunner.cli.services import Shown
    from packrunner.dev.doors import Item
    from packrunner.events import Reporter
    from packrunner.formats.sync import SyncRules
    from packrunner.images.image import Image
    from packrunner.images.store import StoredImage
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.request import BuildRequest

_PATIENCE = 5.0


class Builder:
    """Makes versions; `shown` tells of the first one's build."""

    def __init__(self, request: BuildRequest, shown: Shown, held: Held | None) -> None:
        self.images = places.store()
        self._request = request
        self._shown = shown
        self._held = held
        self._recorder: Recorder | None = None
        self._thread: threading.Thread | None = None

    def first(self) -> Version:
        """The version to begin with: the last one, where nothing has changed since."""
        before = self.images.read(self._request.name)
        known = _Known(self._request)
        if before and known.is_unchanged():
            return self._version(before, fresh=False)
        return self._made(self._shown.first, known)

    def again(self, put: Callable[[Item], None]) -> None:
        """Make another one in the background; only what it comes to is told."""
        self._recorder = Recorder()
        self._thread = threading.Thread(target=self._run, args=(self._recorder, put), name="rebuild", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a build that still runs."""
        if self._thread and self._recorder:
            self._recorder.stop()
            self._thread.join(_PATIENCE)

    def _run(self, recorder: Recorder, put: Callable[[Item], None]) -> None:
        with self._shown.logged(recorder) as reporter:
            try:
                put(Built(self._made(reporter, _Known(self._request), recorder)))
            except StoppedError:
                return
            except PackrunnerError as error:
                put(Unbuilt(self._shown.explained(error)))

    def _made(self, reporter: Reporter, known: _Known, recorder: Recorder | None = None) -> Version:
        before = self.images.read(self._request.name)
        building.build(self._request, reporter, known, self._held)
        found = self.images.read(self._request.name)
        assert found
        fresh = before is None or before.digest != found.digest
        return self._version(found, fresh=fresh, summary=recorder.summary if recorder and fresh else "")

    def _version(self, found: StoredImage, *, fresh: bool, summary: str = "") -> Version:
        return Version(
            line=f"{self._request.name}@{found.digest.short}",
            image=str(found.digest),
            rules=_rules(found.image),
            app=found.image.working_dir or "/workspace",
            summary=summary,
            built=time.time() if fresh else found.written_at,
            fresh=fresh,
        )


class _Known:
    """The record of the same request, as `services.Known`: what the last build was made from, to compare with."""

    def __init__(self, request: BuildRequest) -> None:
        self.record = Record(request.source, ("dev", request.to_json()))
        self.record.load()
        self.scan: Scan | None = None
        self.request: Mapping[str, Any] | None = None
        self.unchanged = False

    def is_unchanged(self) -> bool:
        """Whether a build would make the image that there is."""
        facts = self.record.facts
        if not facts or facts["environment"] != environment_digest(os.environ, facts["environment_names"]):
            return False
        try:
            self.scan = Scan(facts["inputs"], app_skip=frozenset(facts["skip"]))
        except OSError:
            return False
        return (
            not facts["always"]
            and self.record.settings_equal(self.scan)
            and self.scan.joined == self.record.tables()
            and self.record.image_present()
        )


def _rules(image: Image) -> SyncRules | None:
    try:
        return rules.of_image(dict(image.labels))
    except UsageError as error:
        if error.slug != "no-sync-rules":
            raise
        return None
