"""Between detect and build, where a group has image extensions: generate, choose the run image, extend both images.

Loaded only where there are extensions.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from packrunner.engines.base import SandboxSpec
from packrunner.images.image import Image
from packrunner.lifecycle.apply import CONTEXT_DIR
from packrunner.lifecycle.extend import AppContext, ExtendInputs, ExtendTools
from packrunner.lifecycle.extend import extend as extend_image
from packrunner.lifecycle.generate import DIRECTORY, GenerateInputs, generate
from packrunner.lifecycle.job import Ready
from packrunner.lifecycle.sandboxes import shared_mounts

if TYPE_CHECKING:
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.application import Application
    from packrunner.lifecycle.detect import DetectResult
    from packrunner.lifecycle.generate import GenerateResult
    from packrunner.lifecycle.job import BuildImage, Job, Tools
    from packrunner.workspace import Workspace


class RunImages(Protocol):
    """The run images that an extension can choose from (EXT-08)."""

    @property
    def names(self) -> frozenset[str]:
        """Those that the builder offers; the choice of another one is warned about."""

    def find(self, name: str) -> RunImage:
        """A run image by the name in a FROM. Raises GenerateError, slug `run-image-unreachable`."""

    def is_fixed(self, name: str) -> bool:
        """Whether a name that means another image one day would be noticed before the next build."""


def extend(job: Job, ws: Workspace, app: Application, found: DetectResult, tools: Tools) -> Ready:
    """Run the extensions of the group. Raises ExtensionFailedError, GenerateError, ExtendError and EngineError."""
    with tools.engine.open(_spec(job, ws, app)) as sandbox:
        generated = generate(_generate_inputs(job, ws, found), sandbox=sandbox, reporter=tools.reporter)
    run = job.run_images.find(generated.run_image) if generated.run_image else job.run_image
    extender = ExtendTools(
        engine=tools.extender,
        store=tools.store,
        snapshots=tools.snapshots,
        reporter=tools.reporter,
        records=job.records,
    )
    mounts, overlays = app.read_only(CONTEXT_DIR)
    digest = hashlib.sha256(job.table + repr(job.rules).encode()).hexdigest()
    context = AppContext(digest=digest, mounts=mounts, overlays=overlays)
    run, fixed_run = _run_image(job, run, generated, context, extender)
    build, fixed_build = _build_image(job, generated, context, extender)
    return Ready(
        build_image=build,
        run=run,
        plan=generated.plan,
        chosen=generated.run_image,
        repeatable=fixed_run and fixed_build and (not generated.run_image or job.run_images.is_fixed(run.name)),
    )


def _spec(job: Job, ws: Workspace, app: Application) -> SandboxSpec:
    mounts, overlays = app.read_only()
    return SandboxSpec(
        rootfs=job.build_image.rootfs,
        image=job.build_image.image,
        user=job.build_image.user,
        mounts=(*shared_mounts(job, ws), *mounts),
        overlays=overlays,
        network=job.network,
    )


def _generate_inputs(job: Job, ws: Workspace, found: DetectResult) -> GenerateInputs:
    return GenerateInputs(
        generated=os.path.join(ws.layers, DIRECTORY),
        plans=ws.plans,
        owner=ws.owner,
        extensions=found.extensions,
        plan=found.plan,
        staged=job.selection.extensions,
        image_env=job.build_image.env,
        home=job.build_image.user.home,
        target=job.run_image.target,
        run_image=job.run_image.name,
        run_images=job.run_images.names,
        platform_env=job.env,
        exec_env=job.exec_env,
        places=job.places,
        operator=job.build_image.operator,
        platform_api=job.platform_api,
    )


def _run_image(
    job: Job, run: RunImage, generated: GenerateResult, app: AppContext, tools: ExtendTools
) -> tuple[RunImage, bool]:
    dockerfiles = generated.of("run")
    if not dockerfiles:
        return run, True
    done = extend_image(
        ExtendInputs(
            kind="run",
            name=run.name,
            image=run.image,
            identity=str(run.image.digest),
            rootfs=tools.snapshots.lowers(run.image),
            dockerfiles=dockerfiles,
            app=app,
            network=job.network,
            clear=job.clear_cache,
        ),
        tools,
    )
    return msgspec.structs.replace(run, extended=done.image), done.repeatable


def _build_image(job: Job, generated: GenerateResult, app: AppContext, tools: ExtendTools) -> tuple[BuildImage, bool]:
    """The build image with what extensions added; its user stays (EXT-14)."""
    dockerfiles, image = generated.of("build"), job.build_image
    if not dockerfiles:
        return image, True
    user = f"{image.user.uid}:{image.user.gid}"
    done = extend_image(
        ExtendInputs(
            kind="build",
            name=image.reference,
            image=Image(env=tuple(image.env.items()), user=user),
            identity=image.reference,
            rootfs=image.rootfs,
            dockerfiles=dockerfiles,
            app=app,
            network=job.network,
            clear=job.clear_cache,
        ),
        tools,
    )
    env = dict(done.image.env)
    return msgspec.structs.replace(
        image,
        image=(image.image or Image()).with_layers(*done.layers),
        tree="" if image.image else image.rootfs[0],
        rootfs=(*image.rootfs, *tools.snapshots.lowers(Image(layers=done.layers))),
        env=env,
        extended={name: value for name, value in env.items() if image.env.get(name) != value},
    ), done.repeatable
