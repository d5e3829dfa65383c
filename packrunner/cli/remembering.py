"""What a build is recognised by the next time: its inputs, their fingerprints, and the record of the result."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint, paths, record
from packrunner.console.units import number
from packrunner.images.transfer import parse_locator
from packrunner.lifecycle import application, bindings
from packrunner.lifecycle.cache import NAMED
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.services import Known
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.application import Rules
    from packrunner.lifecycle.job import BuildReport
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.volumes import Volume


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What else a record says: `moving` where other images may be found the next time, `elsewhere` what was sent.

    `packages` are those that buildpacks came from, by the names by which they were asked for, with their digests.
    """

    builder: Builder
    store: LocalStore
    line: str
    moving: bool = False
    packages: Mapping[str, str] = msgspec.field(default_factory=dict)
    elsewhere: Mapping[str, str] = msgspec.field(default_factory=dict)


def inputs(request: BuildRequest, launcher: str, builder: Builder, selection: Selection) -> list[str]:
    """Everything the result depends on, the application first, then what the request itself was read from."""
    return [
        request.source,
        request.project_file,
        paths.config_file(),
        *request.env_files,
        launcher,
        *builder.watched,
        *selection.inputs,
        *bindings.watched(request.bindings, request.secrets),
        *watched(request.shape.volumes),
        *([parse_locator(request.run_image).path] if request.run_image and ":/" in request.run_image else []),
    ]


def scan(inputs: Sequence[str], rules: Rules, known: Known | None, began_ns: int) -> record.Scan:
    """The fingerprints of all inputs; those that start took a moment ago, when they are of the same paths.

    Raises UsageError, slug `unreadable`.
    """
    if known and known.scan and known.scan.inputs == tuple(inputs) and known.scan.app_skip == rules.skip:
        return known.scan
    locks = frozenset(path for path in inputs if os.path.basename(path) == "lock.json")
    try:
        return record.Scan(inputs, app_skip=rules.skip, began_ns=began_ns, replaced=locks)
    except OSError as error:
        raise application.unreadable(error, inputs[0]) from error


def remember(
    request: BuildRequest,
    kept: record.Record,
    scan: record.Scan,
    report: BuildReport,
    found: Findings,
) -> None:
    """Record what the image was made from; not when an input was still changing, or could have been, unseen."""
    if not scan.settled:
        kept.forget()
        return
    image, builder, store = report.image, found.builder, found.store
    digests = [image.digest, image.config.digest, *(layer.blob.digest for layer in image.layers)]
    names = [image_path(output) for output in request.outputs] + handed_out(request)
    count = len(report.group)
    named = (*request.inherited, *bindings.variables(request.secrets))
    settings = len(request.env) + sum(origin != "default" for origin in request.origins.values())
    kept.save(
        {
            "environment": record.environment_digest(os.environ, named),
            "environment_names": list(named),
            "skip": sorted(scan.app_skip),
            "settings": list(range(1, 3 + len(request.env_files))),
            "always": (
                request.rebuild
                or request.clear_cache
                or not report.repeatable
                or found.moving
                or _differs(request, scan)
            ),
            "quiet": bool(request.quiet) or request.progress == "json",
            # Values of variables may be secret, and are not kept: then the arguments are parsed again.
            "request": None if request.env else request.to_plain(),
            "image": {
                "index": store.index_path,
                "names": {
                    **{ImageName.parse(name).tagged: str(image.digest) for name in all_names(request)},
                    **_images(request, report, builder, store),
                    **{
                        ImageName.parse(name).tagged: _meant(store, name, digest)
                        for name, digest in found.packages.items()
                        if "@" not in name
                    },
                },
                "blobs": [[path, os.stat(path).st_size] for path in map(store.blob_path, digests)],
            },
            "outputs": [[path, record.output_digest(path)] for path in names],
            "when": time.time(),
            "summary": ", ".join(
                (_files(scan), number(count, "buildpack"), builder.reference, number(settings, "setting"))
            ),
            "elsewhere": found.elsewhere,
            "result": found.line,
        },
        scan,
    )


def all_names(request: BuildRequest) -> tuple[str, ...]:
    """What the image is called."""
    return (request.name, *request.delivery.tags)


def handed_out(request: BuildRequest) -> list[str]:
    """Files and directories about the build that were written beside the image."""
    from packrunner.lifecycle import handout
    from packrunner.lifecycle.cache_dir import CacheDirectory

    wanted = request.shape
    scopes = [os.path.join(wanted.sbom_dir, scope) for scope in handout.SCOPES] if wanted.sbom_dir else []
    files = (handout.REPORT, handout.DOCUMENT) if wanted.report_dir else ()
    report = [os.path.join(wanted.report_dir, name) for name in files]
    cache = cache_directory(request)
    return scopes + report + ([CacheDirectory(cache).metadata_path] if cache else [])


def cache_directory(request: BuildRequest) -> str:
    """The directory of the cache that the request names; "" for another one or none."""
    kind, place = request.delivery.cache or ("", "")
    if kind == "volume":
        return os.path.join(paths.cache_dir(), NAMED, place)
    return place if kind == "dir" else ""


def watched(volumes: Sequence[Volume]) -> list[str]:
    """The volumes in which a change would show: not those that builds write to, or that cannot be read through."""
    return [volume.source for volume in volumes if not volume.writable and _walkable(volume.source)]


def _walkable(path: str) -> bool:
    try:
        fingerprint.scan(path)
    except NotADirectoryError:
        return True
    except OSError:
        return False
    return True


def _differs(request: BuildRequest, scan: record.Scan) -> bool:
    """Whether the same inputs may make another image: at another time, or with volumes that are not watched."""
    unseen = any(volume.writable or volume.source not in scan.inputs for volume in request.shape.volumes)
    return request.shape.created == "now" or unseen


def _images(request: BuildRequest, report: BuildReport, builder: Builder, store: LocalStore) -> dict[str, str]:
    """The names and digests of builder, run and previous images that were taken from the store by name."""
    used = (request.run_image, report.chosen, request.delivery.previous, *builder.images)
    names = [name for name in used if name and ":/" not in name]
    found = [stored for name in names if (stored := store.read(name))]
    return {stored.name: str(stored.digest) for stored in found if stored.name}


def _meant(store: LocalStore, name: str, digest: str) -> str:
    """The digest that a name has in the store; of images for several platforms that is not the image's own."""
    from packrunner.images.several import Several

    what = store.read_all(name)
    return str(what.digest) if isinstance(what, Several) and any(i.digest == digest for i in what.images) else digest


def image_path(output: str) -> str:
    """The file or directory behind `oci:DIR` and its like."""
    return parse_locator(output).path


def _files(scan: record.Scan) -> str:
    return number(fingerprint.files(scan.tables[0]), "file")
