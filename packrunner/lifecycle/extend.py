"""The extend phase: Dockerfiles applied to a base image, in the group's order (EXT-11 - EXT-15)."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import TYPE_CHECKING

import msgspec

from packrunner.engines.base import Mount
from packrunner.errors import ExtendError
from packrunner.events import StepDone, StepStarted, Warned
from packrunner.formats.labels import REBASABLE
from packrunner.images import changes, owners
from packrunner.lifecycle import extended
from packrunner.lifecycle.apply import CONTEXT_DIR, Applying, Bench, fingerprint

if TYPE_CHECKING:
    from packrunner.engines.base import Extender, Network, Overlay
    from packrunner.events import Reporter
    from packrunner.formats.extension import Kind
    from packrunner.images.image import Image, Layer
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.generated import Generated

_BUILD_ID = "build_id"


class AppContext(msgspec.Struct, frozen=True, kw_only=True):
    """The application as a build context: what is known of its content, and how it is shown at CONTEXT_DIR."""

    digest: str = ""
    mounts: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()


class ExtendInputs(msgspec.Struct, frozen=True, kw_only=True):
    """`image` is what is extended, called `name`; `rootfs` its unpacked layers, which `identity` stands for.

    A build image needs no layers of its own in `image`, only its configuration. With `clear` nothing that is remembered
    is used.
    """

    kind: Kind
    name: str
    image: Image
    identity: str
    rootfs: tuple[str, ...]
    dockerfiles: tuple[Generated, ...]
    app: AppContext = msgspec.field(default_factory=AppContext)
    network: Network = "host"
    clear: bool = False


class ExtendResult(msgspec.Struct, frozen=True, kw_only=True):
    """The extended image, and its new layers.

    `repeatable` is false where a Dockerfile asks for the build's id, so that the next build is another one.
    """

    image: Image
    layers: tuple[Layer, ...]
    repeatable: bool


class ExtendTools(msgspec.Struct, frozen=True, kw_only=True):
    """What extending is done with; `records` is the directory of what is remembered."""

    engine: Extender
    store: LocalStore
    snapshots: Snapshots
    reporter: Reporter
    records: str


def extend(inputs: ExtendInputs, tools: ExtendTools) -> ExtendResult:
    """Apply the Dockerfiles. Raises ExtendError (102), and EngineError where commands cannot run."""
    image = inputs.image
    layers: list[Layer] = []
    rebasable = repeatable = True
    for generated in inputs.dockerfiles:
        began = time.monotonic()
        subject = f"{inputs.kind} image with {generated.extension.id.rpartition('/')[2]}"
        tools.reporter.emit(StepStarted(phase="extend", subject=subject))
        again = generated.file.declares(_BUILD_ID)
        image, layer, cached = _applied(inputs, tools, generated, image, tuple(layers), lasting=not again)
        repeatable = repeatable and not again
        layers += [layer] if layer else []
        if inputs.kind == "run":
            rebasable = rebasable and image.labels.get(REBASABLE, "").lower() in {"1", "t", "true"}
            image = image.with_labels({REBASABLE: "true" if rebasable else "false"})
        how = "unchanged" if cached else f"{len(generated.file.instructions)} instructions"
        tools.reporter.emit(StepDone(phase="extend", subject=subject, detail=how, seconds=time.monotonic() - began))
        _check_user(image, inputs, generated, tools.reporter)
    _check_last_user(image, inputs, tools.reporter)
    return ExtendResult(image=image, layers=tuple(layers), repeatable=repeatable)


def _applied(
    inputs: ExtendInputs,
    tools: ExtendTools,
    generated: Generated,
    image: Image,
    layers: tuple[Layer, ...],
    *,
    lasting: bool,
) -> tuple[Image, Layer | None, bool]:
    """The image after one Dockerfile, the layer that it made, and whether that was known already."""
    uid, _, gid = image.user.partition(":")
    args = {arg.name: arg.value for arg in generated.args}
    args |= {"base_image": inputs.name, _BUILD_ID: str(uuid.uuid4()), "user_id": uid, "group_id": gid}
    uses_context = any(one.name in {"COPY", "ADD"} for one in generated.file.instructions)
    name = extended.key(
        kind=inputs.kind,
        base=[inputs.identity, *(str(layer.diff_id) for layer in layers)],
        config=hashlib.sha256(image.config_bytes()).hexdigest(),
        dockerfile=fingerprint(generated.file, args),
        context=_digest(generated.context, inputs.app) if uses_context else "",
        ids=min(tools.engine.ids, 2),
        network=inputs.network,
    )
    record = extended.read(tools.records, name) if lasting and not inputs.clear else None
    if record and (record.layer is None or tools.store.has(record.layer.diff_id, record.size)):
        return record.applied(image), record.layer, True
    shown = _shown(generated.context, inputs.app) if uses_context else AppContext()
    rootfs = inputs.rootfs
    if layers:
        rootfs += tools.snapshots.lowers(type(image)(layers=layers))
    bench = Bench(
        engine=tools.engine,
        rootfs=rootfs,
        network=inputs.network,
        below=lambda: owners.of(image, tools.store),
        mounts=shown.mounts,
        overlays=shown.overlays,
    )
    where = f"{generated.extension.id}@{generated.extension.version}"
    with Applying(
        generated.file,
        image,
        args,
        bench=bench,
        source=generated.extension.id.rpartition("/")[2],
        reporter=tools.reporter,
    ) as applying:
        applying.run()
        created_by = f"Layer: '{inputs.kind}.Dockerfile', Created by extension: {where}"
        layer = applying.layer(tools.store, created_by=created_by)
        image = applying.image
    if lasting:
        extended.write(tools.records, name, extended.record_of(image, layer))
    return image.with_layers(layer) if layer else image, layer, False


def _digest(context: str, app: AppContext) -> str:
    """What stands for a context's content: of a generated one, the digest of a tar of it."""
    if not context:
        return app.digest
    hashed = hashlib.sha256()
    changes.pack(context, hashed.update, owners=lambda _uid, _gid: (0, 0))
    return hashed.hexdigest()


def _shown(context: str, app: AppContext) -> AppContext:
    return AppContext(mounts=(Mount(source=context, target=CONTEXT_DIR),)) if context else app


def _is_root(image: Image) -> bool:
    return image.user.partition(":")[0] in {"", "0", "root"}


def _check_user(image: Image, inputs: ExtendInputs, generated: Generated, reporter: Reporter) -> None:
    if _is_root(image) and not _is_root(inputs.image) and inputs.kind == "build":
        reporter.emit(
            Warned(
                text=f"{generated.file.where} leaves root as the user of the build image",
                hint=f"buildpacks run as {inputs.image.user} all the same; end it with USER ${{user_id}}:${{group_id}}",
            )
        )


def _check_last_user(image: Image, inputs: ExtendInputs, reporter: Reporter) -> None:
    """A run image must not end as root (EXT-13)."""
    if inputs.kind != "run" or not inputs.dockerfiles:
        return
    where = inputs.dockerfiles[-1].file.where
    if _is_root(image):
        raise ExtendError(
            f"{where} leaves root as the user of the run image",
            slug="extend-root",
            cause="applications must not run as root",
            at=where,
            tries=("end it with ARG user_id, ARG group_id, USER ${user_id}:${group_id}",),
        )
    if image.user != inputs.image.user:
        reporter.emit(Warned(text=f"the user of the run image was {inputs.image.user}, extensions leave {image.user}"))
