"""The phase `analyze`: which image came before, which run image the next one goes on (RES-03 - RES-06, RES-16)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined
from packrunner.errors import AnalyzeError, CorruptError, PackrunnerError, UnsafeArchiveError
from packrunner.events import Noted, StepDone, Warned
from packrunner.formats.analyzed import AnalyzedTarget
from packrunner.formats.platform import RunTarget
from packrunner.images.reference import Reference, nearest
from packrunner.lifecycle import analyze as analysis
from packrunner.lifecycle.phases import documents

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.formats.analyzed import Analyzed
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.images.image import Image
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """The images of a build: `names` are what it will be called, the first one first."""

    names: tuple[str, ...]
    previous: str = ""
    run_image: str = ""


def analyze(setting: Setting, wanted: Targets, images: Repository, reporter: Reporter) -> Analyzed:
    """Write analyzed.toml, and the previous image's SBOMs into <layers>/sbom. Raises AnalyzeError."""
    began = time.monotonic()
    _check_names(wanted)
    for name in (*wanted.names, *((setting.cache_image,) if setting.cache_image else ())):
        refusal = images.check_write(name)
        if refusal:
            raise AnalyzeError(f"{name} cannot be written", slug="image-access", cause=refusal)
    previous_name = wanted.previous or wanted.names[0]
    previous = images.read(previous_name)
    if previous is None:
        reporter.emit(Noted(text=f"there is no previous image {previous_name}"))
    run_name, run = run_image(setting, wanted, images)
    known = analysis.RunImage(image=run, name=run_name, reference=images.pinned(run_name, run), target=target_of(run))
    found = analysis.analyze(previous, name=previous_name, run=known)
    _restore_sboms(setting, previous, found.label, images, reporter)
    file = _pinned(setting, found.analyzed, images.pinned(previous_name, previous) if previous else "")
    documents.save(setting.files.analyzed, file, setting)
    detail = "first build" if previous is None else f"on {previous.digest.short}"
    reporter.emit(StepDone(phase="analyze", subject=run_name, detail=detail, seconds=time.monotonic() - began))
    return file


def target_of(image: Image) -> RunTarget:
    """What an image is for, by its configuration and labels; empty parts are filled by who asks (TGT-07)."""
    name, version = (image.labels.get(f"io.buildpacks.base.distro.{part}", "") for part in ("name", "version"))
    return RunTarget(image.os, image.architecture, image.variant, name, version)


def run_image(setting: Setting, wanted: Targets, images: Repository) -> tuple[str, Image]:
    """The run image (RES-05): the one asked for, else the first that can be read of the builder's first entry."""
    if wanted.run_image:
        found = images.read(wanted.run_image)
        if found is None:
            raise AnalyzeError(f"there is no run image {wanted.run_image}", slug="run-image")
        return wanted.run_image, found
    known = documents.run_images(setting).images
    if not known or not known[0].image:
        where = setting.files.run if setting.features.run_toml else setting.files.stack
        raise AnalyzeError(
            "no run image is known",
            slug="run-image",
            cause=f"none was asked for, and {where} names none",
            tries=("-run-image NAME",),
        )
    for name in nearest(known[0].names, wanted.names[0]):
        found = images.read(name)
        if found is not None:
            return name, found
    raise AnalyzeError("no run image can be read", slug="run-image", cause=f"tried were {', '.join(known[0].names)}")


def _check_names(wanted: Targets) -> None:
    registries = {Reference.parse(name).registry for name in wanted.names}
    if len(registries) > 1:
        raise AnalyzeError(
            "an image cannot be written to several registries at once",
            slug="image-access",
            cause=f"its names are on {', '.join(sorted(registries))}",
        )


def _pinned(setting: Setting, file: Analyzed, previous: str) -> Analyzed:
    """analyzed.toml as the platform's level has it."""
    if file.image:
        file = msgspec.structs.replace(file, image=msgspec.structs.replace(file.image, reference=previous))
    assert file.run_image
    run = file.run_image
    if not setting.features.run_toml:
        run = msgspec.structs.replace(run, image="", target=None)
    elif isinstance(run.target, AnalyzedTarget) and run.target.os == "":
        raise AnalyzeError(f"the run image {run.image} does not say which system it is for", slug="run-image")
    return msgspec.structs.replace(file, run_image=run)


def _restore_sboms(
    setting: Setting, previous: Image | None, label: LifecycleLabel, images: Repository, reporter: Reporter
) -> None:
    """Unpack the previous image's SBOM layer, from which restore takes those of layers that come back."""
    layer = (
        next((one for one in previous.layers if label.sbom and one.diff_id == label.sbom.sha), None)
        if previous
        else None
    )
    with confined.Root.open(setting.places.layers) as root:
        root.remove("sbom")
        if layer is None or setting.skip_layers or not setting.features.sboms:
            return
        from packrunner.images.extract import extract

        root.makedirs("sbom", owner=setting.owner)
        try:
            with images.open(layer.blob.digest) as stream:
                extract(
                    stream,
                    os.path.join(setting.places.layers, "sbom"),
                    uid_gid=setting.owner,
                    prefix=f"{setting.places.layers.strip('/')}/sbom",
                    digest=layer.blob.digest,
                    diff_id=layer.diff_id,
                )
        except (CorruptError, UnsafeArchiveError) as e:
            root.remove("sbom")
            reporter.emit(Warned(text=f"the previous image's SBOMs cannot be read: {_said(e)}"))


def _said(error: PackrunnerError) -> str:
    return error.cause or error.brief
