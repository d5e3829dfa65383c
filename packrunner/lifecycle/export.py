"""Export: run image + what the build left = an image, and what the cache shall remember (EXP-01 - EXP-31).

The layers go into the store here; the image itself is a value that the caller writes wherever it shall go. After that
has succeeded, and not before, the caller saves `ExportResult.cache`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import confined
from packrunner.errors import ExportError
from packrunner.events import LayerReported, Warned
from packrunner.formats import toml
from packrunner.formats.api import PLATFORM_API, PRODUCTION, platform_features
from packrunner.formats.report import Report, ReportImage
from packrunner.images.image import CREATED
from packrunner.lifecycle import labels_out, sbom, slices
from packrunner.lifecycle.cache import CachedBuildpack, CachedLayer, CacheRecord
from packrunner.lifecycle.decisions import record_of
from packrunner.lifecycle.layers import LAUNCHER, PROCESS_DIR, LayerWriter, created_by
from packrunner.names import BuildpackId
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.events import Reporter
    from packrunner.formats.labels import Sha
    from packrunner.images.image import Image, Layer
    from packrunner.images.layer import Tree
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import AnalyzeResult
    from packrunner.lifecycle.build import BuildResult
    from packrunner.lifecycle.labels_out import Parts
    from packrunner.lifecycle.layers import Known
    from packrunner.lifecycle.outputs import BuildpackOutput, LayerOutput
    from packrunner.lifecycle.restore import RestoreResult

_BY_CONTENT = {"new": "new", "changed": "changed: other content", "reused": "reused: same content"}
_SEARCH = f"{PROCESS_DIR}:{os.path.dirname(LAUNCHER)}"


class ExportInputs(msgspec.Struct, frozen=True, kw_only=True):
    """`layers` is the host path of /layers, `user` whose the contents are in the image, `launcher` a host path.

    `process_type` chooses the entry point, "" takes the buildpacks' default.
    """

    layers: str
    user: tuple[int, int]
    app: Tree
    analyzed: AnalyzeResult
    restored: RestoreResult
    built: BuildResult
    cache: CacheRecord
    launcher: str
    launcher_version: str
    launcher_sboms: str = ""
    """Where its SBOMs are; "" for the directory that it is in."""
    process_type: str = ""
    exec_env: str = "production"
    platform_api: str = PLATFORM_API
    places: Places = PLACES
    created: str = CREATED
    project: Mapping[str, Any] = msgspec.field(default_factory=dict)


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one layer. `buildpack` is "" for packrunner's own; `size` is of the tar in bytes.

    `state` is new, changed or reused by content; `detail` says it in words, the buildpack's own where it had any.
    """

    buildpack: str
    name: str
    state: str
    detail: str
    size: int
    diff_id: str
    in_image: bool = True


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """The image, a report on each layer in the image's order, and the cache's record to save afterwards."""

    image: Image
    layers: tuple[LayerReport, ...]
    cache: CacheRecord


def export(inputs: ExportInputs, *, store: LocalStore, reporter: Reporter) -> ExportResult:
    """Write all layers and compose the image. Raises ExportError (62); nothing refers to the layers yet then."""
    launch = inputs.built.launch
    features = platform_features(inputs.platform_api)
    entrypoint = entrypoint_for(
        inputs.process_type, [p.type for p in launch.processes], launch.buildpack_default_process_type
    )
    exporter = _Exporter(inputs, store, reporter)
    parts = exporter.parts()
    labels = labels_out.compose(
        inputs.built,
        parts,
        inputs.analyzed.run,
        exec_env=inputs.exec_env if features.exec_env else "",
        launcher_version=inputs.launcher_version,
        project=inputs.project,
    )
    image = compose(
        inputs.analyzed.run.below,
        parts.all,
        labels,
        entrypoint=entrypoint,
        created=inputs.created,
        platform_api=inputs.platform_api,
        places=inputs.places,
        exec_env=inputs.exec_env if features.exec_env else PRODUCTION,
    )
    return ExportResult(image=image, layers=tuple(exporter.reports), cache=exporter.cache())


def compose(
    run_image: Image,
    layers: Sequence[Layer],
    labels: Mapping[str, str],
    *,
    entrypoint: str,
    created: str,
    platform_api: str = PLATFORM_API,
    places: Places = PLACES,
    exec_env: str = PRODUCTION,
) -> Image:
    """The run image with our layers on top; all that is not named here stays as it is there (EXP-17 - EXP-19).

    An image that is not for production says so to its launcher: it would choose processes of production otherwise.
    """
    path = run_image.get_env("PATH")
    image = run_image.with_layers(*layers)
    if not platform_features(platform_api).history:
        image = image.without_history()
    if exec_env != PRODUCTION:
        image = image.with_env("CNB_EXEC_ENV", exec_env)
    return (
        image.with_env("CNB_LAYERS_DIR", places.layers)
        .with_env("CNB_APP_DIR", places.app)
        .with_env("CNB_PLATFORM_API", platform_api)
        .with_env("CNB_DEPRECATION_MODE", "quiet")
        .with_env("PATH", f"{_SEARCH}:{path}" if path else _SEARCH)
        .with_labels(labels)
        .with_entrypoint(entrypoint)
        .with_working_dir(places.app)
        .with_created(created)
    )


def entrypoint_for(requested: str, types: Sequence[str], default: str) -> str:
    """The program that the image starts (EXP-17). Raises ExportError for a requested type that nobody defined."""
    if requested and requested not in types:
        raise ExportError(
            f"no buildpack defines the process {requested}",
            slug="process-unknown",
            cause=f"defined are {', '.join(types)}" if types else "no process is defined at all",
        )
    chosen = requested or default
    return f"{PROCESS_DIR}/{chosen}" if chosen else LAUNCHER


def report(image: Image, names: Sequence[str]) -> Report:
    """report.toml, for an image that has been saved under `names` (EXP-31)."""
    return Report(
        image=ReportImage(tags=tuple(map(str, names)), digest=str(image.digest), manifest_size=image.manifest_size)
    )


class _Exporter:
    def __init__(self, inputs: ExportInputs, store: LocalStore, reporter: Reporter) -> None:
        self.inputs = inputs
        self.reporter = reporter
        self.writer = LayerWriter(store, inputs.user, layers_dir=inputs.places.layers)
        self.reports: list[LayerReport] = []
        self.cached: dict[str, dict[str, CachedLayer]] = {}
        self.cached_sbom = ""

    def parts(self) -> Parts:
        """Every layer, written in the image's order."""
        label, built = self.inputs.analyzed.label, self.inputs.built
        buildpacks = {
            (output.member.id, layer.name): written
            for output in built.outputs
            for layer in output.layers
            if (written := self._buildpack_layer(output, layer)) and layer.types.launch
        }
        files = [*built.sboms, *self._launcher_sboms()]
        sboms = self.writer.sboms("launch", files, previous=_sha(label.sbom))
        app = self._app()
        launcher = self.writer.launcher(self.inputs.launcher, previous=_sha(label.launcher))
        config = self.writer.config(toml.encode(built.launch), previous=_sha(label.config))
        types = [p.type for p in built.launch.processes]
        process_types = self.writer.process_types(types, previous=_sha(label.process_types))
        own = (
            ("sbom", sboms, label.sbom),
            ("launcher", launcher, label.launcher),
            ("config", config, label.config),
            ("process-types", process_types, label.process_types),
        )
        for name, layer, before in own:
            if layer:
                self._report(name, layer, _sha(before))
        cached_sbom = self.writer.sboms("cache", built.sboms, previous=self.inputs.cache.sbom)
        self.cached_sbom = str(cached_sbom.diff_id) if cached_sbom else ""
        return labels_out.Parts(
            buildpacks=buildpacks,
            app=app,
            launcher=launcher,
            config=config,
            process_types=process_types,
            sbom=sboms,
        )

    def _launcher_sboms(self) -> tuple[sbom.Sbom, ...]:
        """SBOMs of the launcher, also written to where those of buildpacks are."""
        if not platform_features(self.inputs.platform_api).launcher_sbom:
            return ()
        found = sbom.of_lifecycle(self.inputs.launcher_sboms or os.path.dirname(self.inputs.launcher))
        if found:
            with confined.Root.open(self.inputs.layers) as root:
                for one in found:
                    path = f"sbom/{one.scope}/{one.path}"
                    root.makedirs(os.path.dirname(path))
                    root.write(path, one.data)
        return found

    def cache(self) -> CacheRecord:
        """What is cached from now on; whatever was not cached again is forgotten (EXP-33)."""
        return CacheRecord(
            exec_env=self.inputs.exec_env,
            buildpacks=tuple(
                CachedBuildpack(
                    key=output.member.id, version=output.member.version, layers=self.cached[output.member.id]
                )
                for output in self.inputs.built.outputs
                if output.member.id in self.cached
            ),
            sbom=self.cached_sbom,
        )

    def _buildpack_layer(self, output: BuildpackOutput, layer: LayerOutput) -> Layer | None:
        """Write, prove or reuse one layer; None for one that is neither launched nor cached (EXP-05)."""
        if not layer.types.launch and not (layer.types.cache and layer.present):
            return None
        buildpack = output.member.id
        comment = created_by(f"{buildpack}@{output.member.version}", layer.name)
        before = self._before(buildpack, layer.name)
        if not layer.present:
            reused = self._from_previous(output, layer, comment)
            self._report(layer.name, reused, before, buildpack=buildpack)
            return reused
        place = f"{BuildpackId(buildpack).escaped}/{layer.name}"
        known = self.writer.tree(
            os.path.join(self.inputs.layers, place),
            place,
            comment=comment,
            proof=self.inputs.restored.proofs.get((buildpack, layer.name)),
            previous=before,
        )
        self._warn(known)
        meddler = self.inputs.built.meddler(buildpack, known.newest)
        if meddler:
            text = f"{meddler} changed the layer {layer.name} of {buildpack}, which had finished it"
            self.reporter.emit(Warned(text=text))
        self._report(layer.name, known.layer, before, buildpack=buildpack, in_image=layer.types.launch)
        if layer.types.cache:
            self.cached.setdefault(buildpack, {})[layer.name] = CachedLayer(
                diff_id=str(known.layer.diff_id),
                size=known.layer.blob.size,
                tree=known.tree,
                metadata=layer.metadata,
                build=layer.types.build,
                launch=layer.types.launch,
            )
        return known.layer

    def _before(self, buildpack: str, name: str) -> str:
        """The diff id of the layer's last version, "" where there is none."""
        cached = self.inputs.cache.layers_of(buildpack).get(name)
        if cached:
            return cached.diff_id
        record = record_of(self.inputs.analyzed.label, buildpack)
        return record.layers[name].sha if record and name in record.layers else ""

    def _from_previous(self, output: BuildpackOutput, layer: LayerOutput, comment: str) -> Layer:
        """The same-named layer of the previous image, for a launch layer without directory (EXP-03, EXP-04)."""
        buildpack = output.member.id
        previous = self.inputs.analyzed.previous
        record = record_of(self.inputs.analyzed.label, buildpack)
        sha = record.layers[layer.name].sha if record and layer.name in record.layers else ""
        found = next((one for one in previous.layers if one.diff_id == sha), None) if previous else None
        if layer.types.cache or found is None:
            why = "it is cached" if layer.types.cache else "the previous image has no such layer"
            raise ExportError(
                f"{buildpack} declares the layer {layer.name} without a directory, and {why}",
                slug="layer-missing",
                cause="only a launch layer that is not cached may be left out, to reuse that of the previous image",
                at=f"{BuildpackId(buildpack).escaped}/{layer.name}.toml",
            )
        return type(found)(diff_id=found.diff_id, blob=found.blob, created_by=comment)

    def _app(self) -> list[Layer]:
        trees = slices.cut(self.inputs.app, self.inputs.built.launch.slices)
        before = [one.sha for one in self.inputs.analyzed.label.app]
        layers = []
        for index, tree in enumerate(trees):
            last = index + 1 == len(trees)
            comment = "Application Layer" if last else f"Application Slice: {index + 1}"
            previous = before[index] if len(before) == len(trees) else ""
            known = self.writer.app(tree, comment=comment, previous=previous)
            self._warn(known)
            self._report("app" if last else f"app slice {index + 1}", known.layer, previous)
            layers.append(known.layer)
        return layers

    def _warn(self, known: Known) -> None:
        for text in known.warnings:
            self.reporter.emit(Warned(text=text))

    def _report(self, name: str, layer: Layer, before: str, *, buildpack: str = "", in_image: bool = True) -> None:
        state = "reused" if layer.diff_id == before else "changed" if before else "new"
        said = self.inputs.built.said.get((buildpack, name))
        self.reports.append(
            LayerReport(
                buildpack=buildpack,
                name=name,
                state=state,
                detail=said or state,
                size=layer.blob.size,
                diff_id=str(layer.diff_id),
                in_image=in_image,
            )
        )
        if buildpack and said is None:
            size = None if state == "reused" else layer.blob.size
            self.reporter.emit(LayerReported(name=name, detail=f"{_BY_CONTENT[state]} (from {buildpack})", size=size))


def _sha(record: Sha | None) -> str:
    return record.sha if record else ""
