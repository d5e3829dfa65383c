"""The phase `extend`: Dockerfiles applied to the run image, or to this container's own root (EXT-11 - EXT-15).

The run image's new layers are left for export. The build image is this container, which cannot be changed below its own
processes: what Dockerfiles do to it is kept as layers, and the build phase runs in a sandbox on both.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.errors import EngineError, ExtendError, GenerateError, UnsafeArchiveError
from packrunner.events import Noted
from packrunner.images.image import Image
from packrunner.lifecycle import extended_layout, generated
from packrunner.lifecycle.extend import ExtendInputs, extend
from packrunner.lifecycle.phases import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.formats.extension import Kind
    from packrunner.lifecycle.extend import ExtendResult, ExtendTools
    from packrunner.lifecycle.generated import Generated
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository

_ELSEWHERE = (
    "a container that may make namespaces and mounts, with PACKRUNNER_HOME on a volume",
    "packrunner build --extension DIR, on the machine itself",
)


class ExtendedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """Where the build phase runs: directories one on the other, the environment, and what of it is new (EXT-14)."""

    rootfs: tuple[str, ...]
    env: Mapping[str, str]
    extended: Mapping[str, str]


def extend_run(setting: Setting, images: Repository, tools: ExtendTools) -> None:
    """Write <extended>/run/<digest>. Raises ExtendError (102)."""
    run = documents.analyzed(setting, ExtendError).run_image
    if run is None or not run.extend:
        tools.reporter.emit(Noted(text="no extension changes the run image"))
        return
    image = images.read(run.reference)
    if image is None:
        raise ExtendError(
            f"there is no run image {run.reference}",
            slug="run-image",
            cause="analyze and restore record where it is",
            tries=("packrunner lifecycle restore -layout -layout-dir DIR",),
        )
    for layer in image.layers:
        if not tools.store.has(layer.blob.digest, layer.blob.size):
            with images.open(layer.blob.digest) as source, tools.store.new_blob() as blob:
                while data := source.read(1 << 20):
                    blob.write(data)
                blob.commit()
    done = _extend(
        ExtendInputs(
            kind="run",
            name=run.image or run.reference,
            image=image,
            identity=str(image.digest),
            rootfs=tools.snapshots.lowers(image),
            dockerfiles=_dockerfiles(setting, "run"),
        ),
        tools,
    )
    above, name = os.path.split(setting.extended)
    # It may be a volume, which cannot be removed; and a buildpack's link must not be followed.
    if not documents.is_directory(setting.extended):
        with Root.open(above) as parent:
            parent.remove(name)
            parent.makedirs(name)
    extended_layout.write(done, setting.extended, tools.store)


def extend_build(setting: Setting, tools: ExtendTools) -> ExtendedBuild | None:
    """What extensions make of this container's root; None where they do nothing. Raises ExtendError (102)."""
    dockerfiles = _dockerfiles(setting, "build")
    if not dockerfiles:
        return None
    env = dict(setting.image_env)
    done = _extend(
        ExtendInputs(
            kind="build",
            name="the build image",
            image=Image(env=tuple(env.items()), user=f"{setting.user.uid}:{setting.user.gid}"),
            # Nothing says which image this container is of, so nothing can be remembered for the next one.
            identity=str(uuid.uuid4()),
            rootfs=("/",),
            dockerfiles=dockerfiles,
            clear=True,
        ),
        tools,
    )
    now = dict(done.image.env)
    return ExtendedBuild(
        rootfs=("/", *tools.snapshots.lowers(Image(layers=done.layers))),
        env=now,
        extended={name: value for name, value in now.items() if env.get(name) != value},
    )


def _extend(inputs: ExtendInputs, tools: ExtendTools) -> ExtendResult:
    try:
        return extend(inputs, tools)
    except EngineError as e:
        raise ExtendError(
            f"the {inputs.kind} image cannot be extended here",
            slug="extend-nested",
            cause=f"{e.brief}: {e.cause}" if e.cause else e.brief,
            tries=_ELSEWHERE,
            foreign=e.foreign,
        ) from e


def _dockerfiles(setting: Setting, kind: Kind) -> tuple[Generated, ...]:
    """Those of the group's extensions, in its order; where they have no context, the application is it (EXT-12)."""
    members = documents.group(setting, ExtendError).group_extensions
    if not members or not documents.is_directory(setting.generated):
        return ()
    try:
        with Root.open(setting.generated) as root:
            found = [
                one
                for member in members
                for one in generated.read(root, member, flat=setting.features.generated_flat)
                if one.kind == kind and one.extends
            ]
    except (GenerateError, UnsafeArchiveError) as e:
        raise ExtendError(e.brief, slug=e.slug, cause=e.cause, at=e.at, tries=e.tries) from e
    return tuple(one if one.context else msgspec.structs.replace(one, context=setting.places.app) for one in found)
