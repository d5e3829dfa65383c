"""A sandbox for the phases that run buildpacks, and the private directory of their plans."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.engines.base import Mount, SandboxSpec
from packrunner.workspace import PLANS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.engines.base import Engine, Sandbox
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.workspace import Places


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Where buildpacks run; `plans` is the host path of what they see at `places.plans`."""

    sandbox: Sandbox
    places: Places
    plans: str


@contextmanager
def room(setting: Setting, engine: Engine, *, rootfs: tuple[str, ...] = ()) -> Iterator[Room]:
    """Open a sandbox on this container's own directories, or with them on another `rootfs`. Raises EngineError."""
    with tempfile.TemporaryDirectory(prefix="packrunner-plans-") as scratch:
        # Resolved, because the temporary directory may be behind a link, and plans are never read through one.
        plans = os.path.realpath(scratch)
        if setting.owner:
            os.chown(plans, *setting.owner)
        # On another root the temporary directory is covered.
        places = msgspec.structs.replace(setting.places, plans=PLANS_DIR if rootfs else plans)
        spec = SandboxSpec(
            rootfs=rootfs or ("/",),
            user=setting.user,
            mounts=(
                Mount(source=plans, target=places.plans, writable=True),
                *(
                    Mount(source=path, target=path, writable=writable)
                    for path, writable in (
                        (places.app, True),
                        (places.layers, True),
                        (places.buildpacks, False),
                        *(((places.extensions, False),) if os.path.isdir(places.extensions) else ()),
                        # Another root has them as directories only: what is mounted there here is not.
                        *(((places.platform, False),) if rootfs and os.path.isdir(places.platform) else ()),
                    )
                ),
            ),
        )
        with engine.open(spec) as sandbox:
            yield Room(sandbox=sandbox, places=places, plans=plans)
