"""Analyze: what the previous image and the run image say, before anything runs (RES-01 - RES-04)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.formats import labels
from packrunner.formats.analyzed import (
    Analyzed,
    AnalyzedRunImage,
    AnalyzedTarget,
    ImageRef,
    TargetDistro,
    metadata_table,
)

if TYPE_CHECKING:
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.formats.platform import RunTarget
    from packrunner.images.image import Image

STACK_ID = "io.buildpacks.stack.id"


class RunImage(msgspec.Struct, frozen=True, kw_only=True):
    """The image that the application's layers go on.

    `name` is the name as given (`debian:13`), `reference` the same fixed by digest; `target` has the distribution
    filled in (TGT-07); `mirrors` hold the same image elsewhere, `extended` is what image extensions made of it.
    """

    image: Image
    name: str
    reference: str
    target: RunTarget
    mirrors: tuple[str, ...] = ()
    extended: Image | None = None

    @property
    def below(self) -> Image:
        """What the application's layers go on."""
        return self.extended or self.image


class AnalyzeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What later phases know of the last build; `previous` is None on a first one, and `label` is then empty."""

    previous: Image | None
    label: LifecycleLabel
    run: RunImage
    analyzed: Analyzed


def analyze(previous: Image | None, *, name: str, run: RunImage) -> AnalyzeResult:
    """Read the labels of the image called `name`; missing or unreadable ones mean a first build (RES-01, RES-02)."""
    label = labels.read_lifecycle(dict(previous.labels)) if previous else labels.LifecycleLabel()
    return AnalyzeResult(previous=previous, label=label, run=run, analyzed=_file(previous, name, label, run))


def _file(previous: Image | None, name: str, label: LifecycleLabel, run: RunImage) -> Analyzed:
    os_name, arch, variant, distro, version = run.target
    return Analyzed(
        image=ImageRef(reference=f"{name}@{previous.digest}") if previous else None,
        metadata=metadata_table(label) if previous else {},
        run_image=AnalyzedRunImage(
            reference=run.reference,
            image=run.name,
            target=AnalyzedTarget(
                os=os_name,
                arch=arch,
                arch_variant=variant,
                id=run.image.labels.get(STACK_ID, ""),
                distro=TargetDistro(name=distro, version=version) if distro else None,
            ),
        ),
    )
