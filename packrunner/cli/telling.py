"""Tells of one build in files, whether it made an image or failed: report.json, and of an image report.toml."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.console.redact import cleaned
from packrunner.errors import StoreError
from packrunner.events import Warned
from packrunner.lifecycle import handout, outline
from packrunner.lifecycle.course import Course

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.errors import PackrunnerError
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.job import BuildReport, KnownBefore
    from packrunner.lifecycle.request import BuildRequest

SCHEMA = "packrunner.report/1"


class Telling:
    """Made before anything else; the build says what it `begins` with, and its phases tell the `course`."""

    def __init__(self, request: BuildRequest, redact: Callable[[str], str]) -> None:
        self.course = Course()
        self._request = request
        self._redact = redact
        self._began = time.monotonic()
        self._parts: outline.Parts | None = None
        self._elsewhere = ""

    def begins(self, parts: outline.Parts, outside: OutsideCache | None) -> None:
        """What the build is put together from, found before it; `outside` is the cache of other machines."""
        self._parts = parts
        self._elsewhere = outside.shown if outside else ""

    def made(self, report: BuildReport, *, pushed: Image | None, loaded: str, line: str) -> None:
        """Write both files. Raises StoreError."""
        from packrunner.lifecycle import export

        result = {
            "reference": line,
            "digest": str(report.image.digest),
            "pushed": str(pushed.digest) if pushed else None,
            "loaded": loaded or None,
            "group": len(report.outcomes),
            "buildpacks": msgspec.to_builtins(report.group),
            "extensions": msgspec.to_builtins(report.extensions),
            "run_image": report.chosen or None,
            "layers": msgspec.to_builtins(report.exported.layers, enc_hook=str),
            "seconds": self._seconds(),
        }
        names = (self._request.name, *self._request.delivery.tags)
        document = self._document({"result": result, "failure": None})
        handout.write_report(self._request.shape.report_dir, export.report(pushed or report.image, names), document)

    def failed(self, error: PackrunnerError, reporter: Reporter) -> None:
        """Write report.json of a build that failed; of one that was stopped the files stay as they are."""
        from packrunner.cli.detection import group_json
        from packrunner.console import problem

        course = self.course
        failure = {
            "phase": course.phase,
            "error": problem.to_json(error),
            "groups": [group_json(number, group) for number, group in enumerate(course.outcomes, 1)],
            "buildpacks": msgspec.to_builtins(course.turns),
            "extensions": msgspec.to_builtins(course.extensions),
            "seconds": self._seconds(),
        }
        try:
            handout.write_failure(self._request.shape.report_dir, self._document({"result": None, "failure": failure}))
        except StoreError as e:
            reporter.emit(Warned(text=f"the report of this build could not be written: {e.brief}"))

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 6)

    def _document(self, ending: dict[str, Any]) -> bytes:
        # Reasons of layers, and what failed, are the buildpacks' own words.
        document = cleaned({"schema": SCHEMA, **self._outline(), **ending}, self._redact)
        return (json.dumps(document, indent=2) + "\n").encode()

    def _outline(self) -> dict[str, Any]:
        """The parts of the build, null what was not found before it ended."""
        parts, known = self._parts, self.course.known
        if parts is None:
            return outline.unfinished(self._request)
        name, _ = parts.previous
        caches = self._caches(known, name) if known else ()
        values = outline.compose(self._request, msgspec.structs.replace(parts, caches=caches)).to_json()
        return values if known else values | {"caches": None}

    def _caches(self, known: KnownBefore, previous: str) -> tuple[outline.Cached, ...]:
        return outline.caches(
            known.decisions,
            [one.id for one in self.course.group],
            label=known.label,
            cache=known.cache,
            previous=previous,
            carried=known.carried,
            elsewhere=self._elsewhere,
        )
