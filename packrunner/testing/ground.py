"""Where a buildpack under test runs: on this machine, or in the sandbox of `packrunner build`, by the same phases."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from packrunner.engines.base import Sandbox

How = Literal["programs", "in-process", "sandbox"]


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """An open sandbox, or what stands for one, and all that the phases are to be told about it."""

    sandbox: Sandbox
    places: Places
    env: Mapping[str, str]
    home: str
    target: tuple[str, str, str, str, str]
    owner: tuple[int, int] | None = None


class Directories(msgspec.Struct, frozen=True, kw_only=True):
    """The host's directories of one buildpack under test; `buildpacks` holds <id with _>/<version>."""

    root: str
    buildpacks: str = ""

    def __getitem__(self, name: str) -> str:
        return os.path.join(self.root, name)

    @property
    def places(self) -> Places:
        """They themselves, where there is no sandbox to show them elsewhere."""
        return Places(
            app=self["workspace"],
            layers=self["layers"],
            platform=self["platform"],
            plans=self["plans"],
            buildpacks=self.buildpacks,
        )


@contextmanager
def opened(
    how: How,
    directories: Directories,
    *,
    source: str,
    calls: Mapping[str, Callable[[], object]],
    without: str = "",
) -> Iterator[Ground]:
    """The ground to stand on while a program runs; `without` is a directory that it does not find."""
    if how == "sandbox":
        if without:
            raise ValueError("a platform without the conventions of packrunner is played on this machine only")
        with _sandbox(directories) as ground:
            yield ground
        return
    from packrunner.formats.platform import default_target
    from packrunner.testing.here import Here, InProcess

    in_process = how == "in-process" or calls
    # The Python that runs the tests is the one that a buildpack finds.
    path = os.pathsep.join((os.path.join(sys.base_prefix, "bin"), os.environ.get("PATH", os.defpath)))
    yield Ground(
        sandbox=InProcess(os.environ, source, calls, without=without)
        if in_process
        else Here(os.environ, without=without),
        places=directories.places,
        env={"PATH": path},
        home=directories["home"],
        target=default_target(),
    )


@contextmanager
def _sandbox(directories: Directories) -> Iterator[Ground]:
    from packrunner.cli.wiring import trying
    from packrunner.engines.base import Mount

    shown = directories.places
    mounts = (
        Mount(source=shown.platform, target=PLACES.platform),
        Mount(source=shown.buildpacks, target=PLACES.buildpacks),
        *(
            Mount(source=source, target=target, writable=True)
            for source, target in (
                (shown.layers, PLACES.layers),
                (shown.plans, PLACES.plans),
                (shown.app, PLACES.app),
            )
        ),
    )
    with trying.opened(mounts) as trial:
        yield Ground(
            sandbox=trial.sandbox,
            places=PLACES,
            env=trial.env,
            home=trial.user.home,
            target=trial.target,
            owner=trial.owner,
        )
