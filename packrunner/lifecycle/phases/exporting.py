"""The phase `export`: an image from analyzed.toml, group.toml and <layers> alone, and the cache (EXP-01 - EXP-35)."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined
from packrunner._version import __version__
from packrunner.errors import ExportError, PackrunnerError, UnsafeArchiveError
from packrunner.events import StepDone, Warned
from packrunner.formats import launch as launches
from packrunner.formats.analyzed import label_of
from packrunner.images.layer import Tree
from packrunner.images.reference import same_image
from packrunner.images.store import LocalStore
from packrunner.lifecycle import export as exportation
from packrunner.lifecycle import extended_layout, outputs, sbom
from packrunner.lifecycle.analyze import AnalyzeResult, RunImage
from packrunner.lifecycle.build import BuildResult
from packrunner.lifecycle.cache import CacheRecord
from packrunner.lifecycle.created import created_at
from packrunner.lifecycle.phases import caches, documents
from packrunner.lifecycle.restore import RestoreResult

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.formats.analyzed import Analyzed
    from packrunner.formats.group import Group
    from packrunner.images.image import Descriptor, Image
    from packrunner.lifecycle.export import ExportResult
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository
    from packrunner.names import Digest

METADATA = "config/metadata.toml"


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported as what. `launcher` is the program for the image, `launcher_sboms` the directory beside it."""

    names: tuple[str, ...]
    launcher: str
    launcher_sboms: str = ""
    process_type: str = ""
    source_date_epoch: str | None = None


def export(setting: Setting, shipment: Shipment, images: Repository, reporter: Reporter) -> ExportResult:
    """Compose the image and save it under all names; write report.toml, then the cache. Raises ExportError."""
    began = time.monotonic()
    analyzed = documents.analyzed(setting, ExportError)
    group = documents.group(setting, ExportError)
    features = setting.features
    with tempfile.TemporaryDirectory(prefix="packrunner-export-") as scratch:
        store = LocalStore(os.path.join(scratch, "store"))
        cache = caches.opened(setting, images)
        with confined.Root.open(setting.places.layers) as layers:
            built = _built(layers, group, setting.exec_env)
        known = _known(setting, analyzed, built, images, store)
        result = exportation.export(
            exportation.ExportInputs(
                layers=setting.places.layers,
                user=(setting.user.uid, setting.user.gid),
                app=Tree(
                    source=os.path.realpath(setting.places.app),
                    target=setting.places.app,
                    uid=setting.user.uid,
                    gid=setting.user.gid,
                ),
                analyzed=known,
                restored=RestoreResult(),
                built=built,
                cache=cache.record() if cache else CacheRecord(),
                launcher=os.path.realpath(shipment.launcher),
                launcher_sboms=shipment.launcher_sboms,
                launcher_version=__version__,
                process_type=shipment.process_type,
                exec_env=setting.exec_env,
                platform_api=setting.platform_api,
                places=setting.places,
                created=created_at(shipment.source_date_epoch if features.source_date_epoch else None, reporter),
                project=documents.project_metadata(setting),
            ),
            store=store,
            reporter=reporter,
        )
        image = result.image.with_blobs(_there(known))
        image = _save(setting, shipment, image, images, store)
        if cache:
            try:
                cache.save(result.cache, store)
            except PackrunnerError as e:
                # The image is safe already (EXP-34).
                reporter.emit(Warned(text=f"the cache could not be saved, the next build starts without it: {e.brief}"))
    reporter.emit(
        StepDone(phase="export", subject=shipment.names[0], detail=str(image.digest), seconds=time.monotonic() - began)
    )
    return msgspec.structs.replace(result, image=image)


def _there(known: AnalyzeResult) -> dict[Digest, Descriptor]:
    """Layers of the previous image and of the run image, by diff id: they are referred to as they are (EXP-06)."""
    images = (known.previous, known.run.image)
    return {layer.diff_id: layer.blob for image in images if image for layer in image.layers}


def _built(layers: confined.Root, group: Group, exec_env: str) -> BuildResult:
    """What the build phase left, read from the disk."""
    data = layers.read(METADATA)
    if data is None:
        raise ExportError(f"there is no {METADATA}", slug="phase-file", cause="the phase build writes it")
    return BuildResult(
        outputs=tuple(outputs.read_layers(layers, member, exec_env=exec_env) for member in group.group),
        launch=launches.read(data, where=METADATA),
        sboms=tuple(sbom.read_tree(layers)),
    )


def _known(
    setting: Setting, analyzed: Analyzed, built: BuildResult, images: Repository, store: LocalStore
) -> AnalyzeResult:
    previous = images.read(analyzed.image.reference) if analyzed.image and analyzed.image.reference else None
    if analyzed.run_image is None or not analyzed.run_image.reference:
        raise ExportError("analyzed.toml names no run image", slug="run-image", at=setting.files.analyzed)
    reference = analyzed.run_image.reference
    run = images.read(reference)
    if run is None:
        raise ExportError(f"there is no run image {reference}", slug="run-image")
    used = analyzed.run_image.image or reference
    name, mirrors = _rebase_names(setting, used, extended=bool(built.launch.extensions))
    return AnalyzeResult(
        previous=previous,
        label=label_of(analyzed.metadata),
        run=RunImage(
            image=run,
            name=name,
            reference=images.recorded(used, run),
            target=documents.target(analyzed),
            mirrors=mirrors,
            extended=_extended(setting, run, store) if analyzed.run_image.extend else None,
        ),
        analyzed=analyzed,
    )


def _extended(setting: Setting, run: Image, store: LocalStore) -> Image:
    """What the phase extend made of the run image (EXT-15)."""
    found = None
    if documents.is_directory(setting.extended):
        try:
            found = extended_layout.read(setting.extended, run, store)
        except UnsafeArchiveError as e:
            raise ExportError(e.brief, slug="extended-image", cause=e.cause, at=e.at) from e
    if found is None:
        raise ExportError(
            "the run image is to be extended, and there is no extended one",
            slug="extended-image",
            cause="the phase extend writes it, with -kind run",
            at=f"{setting.extended}/run",
        )
    return found


def _rebase_names(setting: Setting, used: str, *, extended: bool) -> tuple[str, tuple[str, ...]]:
    """What the label says about the run image's names (EXP-22)."""
    known = documents.run_images(setting).images
    if not setting.features.run_toml:
        return (known[0].image, known[0].mirrors) if known else (used, ())
    for entry in known:
        if any(same_image(name, used) for name in entry.names):
            return entry.image, entry.mirrors
    if extended or not known:
        return used, ()
    return known[0].image, known[0].mirrors


def _save(setting: Setting, shipment: Shipment, image: Image, images: Repository, store: LocalStore) -> Image:
    """Save the image; it as it is there."""
    there, failed = images.write(image, shipment.names, store)
    if failed:
        raise ExportError(
            f"the image could not be written as {', '.join(failed)}",
            slug="image-write",
            cause="; ".join(f"{name}: {why}" for name, why in failed.items()),
        )
    documents.save(setting.files.report, exportation.report(there, shipment.names), setting)
    return there
