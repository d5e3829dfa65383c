"""The labels of a built image, composed from values (EXP-20 - EXP-27). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.formats import labels
from packrunner.formats.labels import (
    BuildLabel,
    BuildpackRecord,
    LabelBuildpack,
    LabelProcess,
    LauncherRecord,
    LayerRecord,
    LifecycleLabel,
    RunImageRecord,
    Sha,
    StackRecord,
    StackRunImage,
    StoreRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.formats.launch import LaunchMetadata
    from packrunner.images.image import Layer
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.build import BuildResult


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The layers that packrunner puts on a run image, by what they are; `buildpacks` by id and layer name."""

    buildpacks: Mapping[tuple[str, str], Layer]
    app: Sequence[Layer]
    launcher: Layer
    config: Layer
    process_types: Layer | None = None
    sbom: Layer | None = None

    @property
    def all(self) -> tuple[Layer, ...]:
        """In their order in the image, above the run image's (EXP-01)."""
        order = (*self.buildpacks.values(), self.sbom, *self.app, self.launcher, self.config, self.process_types)
        return tuple(layer for layer in order if layer)


def compose(
    built: BuildResult, parts: Parts, run: RunImage, *, exec_env: str, launcher_version: str, project: Mapping[str, Any]
) -> dict[str, str]:
    """All labels; those of buildpacks come last and so may replace any (EXP-25). Platforms below 0.15 record no
    `exec_env` (EXP-27).
    """
    return {
        labels.LIFECYCLE: labels.to_json(lifecycle_label(built, parts, run, exec_env=exec_env)),
        labels.BUILD: labels.to_json(build_label(built.launch, launcher_version=launcher_version)),
        labels.PROJECT: labels.to_json(project),
        **({labels.EXEC_ENV: exec_env} if exec_env else {}),
        **{label.key: label.value for label in built.launch.labels},
    }


def lifecycle_label(built: BuildResult, parts: Parts, run: RunImage, *, exec_env: str) -> LifecycleLabel:
    """`io.buildpacks.lifecycle.metadata` (EXP-20 - EXP-22)."""
    top = str(run.image.layers[-1].diff_id) if run.image.layers else ""
    return LifecycleLabel(
        app=tuple(Sha(sha=str(layer.diff_id)) for layer in parts.app),
        sbom=_sha(parts.sbom),
        buildpacks=tuple(_record(built, parts, index) for index in range(len(built.outputs))),
        config=_sha(parts.config),
        launcher=_sha(parts.launcher),
        process_types=_sha(parts.process_types),
        run_image=RunImageRecord(top_layer=top, reference=run.reference, image=run.name, mirrors=run.mirrors),
        stack=StackRecord(run_image=StackRunImage(image=run.name, mirrors=run.mirrors)),
        exec_env=exec_env,
    )


def _record(built: BuildResult, parts: Parts, index: int) -> BuildpackRecord:
    output = built.outputs[index]
    return BuildpackRecord(
        key=output.member.id,
        version=output.member.version,
        layers={
            layer.name: LayerRecord(
                sha=str(parts.buildpacks[output.member.id, layer.name].diff_id),
                data=layer.metadata,
                build=layer.types.build,
                launch=layer.types.launch,
                cache=layer.types.cache,
            )
            for layer in output.layers
            if layer.types.launch
        },
        store=None if output.store is None else StoreRecord(metadata=output.store),
    )


def build_label(launch: LaunchMetadata, *, launcher_version: str) -> BuildLabel:
    """`io.buildpacks.build.metadata` (EXP-23)."""
    return BuildLabel(
        buildpacks=tuple(
            LabelBuildpack(id=m.id, version=m.version, homepage=m.homepage, api=m.api) for m in launch.buildpacks
        ),
        extensions=tuple(
            LabelBuildpack(id=m.id, version=m.version, homepage=m.homepage, api=m.api) for m in launch.extensions
        ),
        launcher=LauncherRecord(version=launcher_version),
        bom=launch.bom,
        processes=tuple(
            LabelProcess(
                type=p.type,
                command=p.command,
                args=p.args,
                direct=p.direct,
                buildpack_id=p.buildpack_id,
                working_dir=p.working_dir,
                exec_env=p.exec_env,
            )
            for p in launch.processes
        ),
        buildpack_default_process_type=launch.buildpack_default_process_type,
    )


def _sha(layer: Layer | None) -> Sha | None:
    return Sha(sha=str(layer.diff_id)) if layer else None
