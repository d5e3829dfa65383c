"""Files about a build that the user asked for: SBOMs, report.toml and report.json."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.formats import toml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.report import Report
    from packrunner.lifecycle.sbom import Sbom

REPORT, DOCUMENT = "report.toml", "report.json"
SCOPES = ("launch", "build", "cache")


def write_sboms(directory: str, sboms: Sequence[Sbom]) -> None:
    """Write each SBOM as `<directory>/<scope>/<buildpack>/...`, in place of the last build's. Raises StoreError."""
    with _opened(directory) as root:
        for scope in SCOPES:
            root.remove(scope)
        for one in sboms:
            path = f"{one.scope}/{one.path}"
            root.makedirs(os.path.dirname(path))
            root.write(path, one.data)


def write_report(directory: str, made: Report, document: bytes) -> None:
    """Write report.toml (EXP-31), and beside it all that is to be said as JSON. Raises StoreError."""
    with _opened(directory) as root:
        root.write(REPORT, toml.encode(made))
        root.write(DOCUMENT, document)


def write_failure(directory: str, document: bytes) -> None:
    """Write what is to be said of a failed build as JSON; report.toml is of images (EXP-31). Raises StoreError."""
    with _opened(directory) as root:
        root.remove(REPORT)
        root.write(DOCUMENT, document)


def _opened(directory: str) -> Root:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as e:
        raise disk_error(e, directory) from e
    return Root.open(directory)
