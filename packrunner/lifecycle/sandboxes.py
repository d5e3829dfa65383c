"""Sandboxes for buildpacks: what they see, and where."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.catalog.compiled import CompiledModules
from packrunner.engines.base import Mount, SandboxSpec
from packrunner.workspace import LAYERS_DIR, PLANS_DIR, PLATFORM_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.engines.base import Engine, Sandbox
    from packrunner.lifecycle.application import Application
    from packrunner.lifecycle.job import BuildImage, Job
    from packrunner.workspace import Workspace


def shared_mounts(job: Job, ws: Workspace) -> tuple[Mount, ...]:
    """What every sandbox of the build sees, the extensions among it where there are any."""
    return (
        Mount(source=ws.layers, target=LAYERS_DIR, writable=True),
        Mount(source=ws.platform, target=PLATFORM_DIR),
        *job.selection.extension_mounts,
        Mount(source=ws.plans, target=PLANS_DIR, writable=True),
        *job.volumes,
    )


@contextmanager
def opened(image: BuildImage, job: Job, ws: Workspace, app: Application, engine: Engine) -> Iterator[Sandbox]:
    """An open sandbox for buildpacks, in which none has run."""
    modules = CompiledModules(job.selection, image.rootfs, path=image.env.get("PATH", ""))
    with engine.open(_spec(image, job, ws, app, modules.mounts())) as sandbox:
        # The first build of an application takes long anyway; who writes a buildpack builds one again and again.
        modules.make(sandbox, at_once=job.previous[1] is None)
        yield sandbox


def _spec(image: BuildImage, job: Job, ws: Workspace, app: Application, modules: tuple[Mount, ...]) -> SandboxSpec:
    return SandboxSpec(
        rootfs=image.rootfs,
        image=image.image,
        tree=image.tree,
        user=image.user,
        mounts=(
            *shared_mounts(job, ws),
            *job.selection.mounts,
            *modules,
            *app.mounts,
        ),
        overlays=app.overlays,
        network=job.network,
    )
