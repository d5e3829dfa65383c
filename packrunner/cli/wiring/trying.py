"""A sandbox as builds have it, for whoever tests a buildpack in one."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.cli.wiring import places
from packrunner.cli.wiring.opening import Opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.engines.base import Mount, Sandbox, User
    from packrunner.events import Event
    from packrunner.formats.platform import RunTarget


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An open sandbox on the build image of the configured builder; `owner` is who must own what it writes."""

    sandbox: Sandbox
    env: Mapping[str, str]
    user: User
    target: RunTarget
    owner: tuple[int, int] | None


@contextmanager
def opened(mounts: tuple[Mount, ...]) -> Iterator[Trial]:
    """Open one, with the settings of the environment and config.toml; what is mounted writable is given to its user.

    Raises what making the base and opening the engine raise.
    """
    from packrunner import config
    from packrunner.engines.base import SandboxSpec
    from packrunner.lifecycle import request as requests
    from packrunner.lifecycle.given import Flags

    flags = Flags(cwd=os.getcwd(), image="packrunner-test")
    request = requests.merge(flags, os.environ, None, config.load())
    with ExitStack() as stack:
        where, builder = Opening(request, _Quiet(), stack).start(("build",))
        owner = places.owner(builder.user)
        if owner:
            _give([mount.source for mount in mounts if mount.writable], owner)
        spec = SandboxSpec(
            rootfs=builder.build_rootfs(),
            image=builder.image,
            user=builder.user,
            mounts=mounts,
            network=request.sandbox_network,
        )
        sandbox = stack.enter_context(where.engine.open(spec))
        yield Trial(sandbox=sandbox, env=builder.build_env, user=builder.user, target=builder.target, owner=owner)


class _Quiet:
    """The story of how the base came about is not the test's."""

    def emit(self, event: Event) -> None:
        """Forget it."""


def _give(directories: list[str], owner: tuple[int, int]) -> None:
    from packrunner.confined import Root

    for directory in directories:
        parent, name = os.path.split(directory)
        with Root.open(parent) as root:
            root.chown_tree(name, *owner)
