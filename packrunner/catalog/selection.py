"""What a selection is: the buildpacks that take part in a build, in what order, and how sandboxes are shown them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.catalog import builtin
from packrunner.engines.base import Mount
from packrunner.names import BuildpackId
from packrunner.workspace import BUILDPACKS_DIR, EXTENSIONS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packrunner.catalog.check import Kind
    from packrunner.catalog.elsewhere import Reach
    from packrunner.catalog.locate import Origin
    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.formats.group import Order, System


class CatalogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are: the built-in buildpacks, the stage directory, what is copied into buildpacks that ask.

    `reach` brings packages, and what is on the network; without one only directories are read. `platform` is whom
    buildpacks are for, as OS/ARCH/VARIANT/DISTRO@VERSION or less; "" for this machine.
    """

    stage_dir: str
    reach: Reach | None = None
    platform: str = ""
    builtin_dir: str = msgspec.field(default_factory=builtin.builtin_dir)
    sdk_dir: str = msgspec.field(default_factory=builtin.sdk_dir)
    programs_dir: str = msgspec.field(default_factory=builtin.programs_dir)


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the ends of every group: names as --buildpack takes them, and the builder's system buildpacks."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    system: bool = True


AS_IT_IS = Around()


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where something that takes part comes from: `place` is a path, or what was asked for without a login."""

    kind: Origin
    place: str


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What takes part in a build.

    Every version in `order` and `system` is explicit. `root` is the host directory of the staged buildpacks, in the
    layout of /cnb/buildpacks; `extensions_root` that of extensions; "" without any. `inputs` are host files and
    directories: as long as their fingerprints stay the same, and `images` are what they were, so does the selection.
    `beside`: what is staged joins what the builder carries, and does not hide it.
    """

    order: Order
    system: System
    buildpacks: Mapping[tuple[str, str], StagedBuildpack]
    root: str
    inputs: tuple[str, ...]
    extensions: Mapping[tuple[str, str], StagedBuildpack] = msgspec.field(default_factory=dict)
    extensions_root: str = ""
    beside: bool = False
    images: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Digests of the packages that were read by a name."""
    moving: bool = False
    """Whether only asking again tells that something is still the same."""
    provenance: Mapping[tuple[Kind, str, str], Provenance] = msgspec.field(default_factory=dict)
    """By kind, id and version; what is not in it is the builder's."""

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What shows a sandbox the staged buildpacks."""
        return self._mounts(self.root, BUILDPACKS_DIR, self.buildpacks.values())

    @property
    def extension_mounts(self) -> tuple[Mount, ...]:
        """What shows a sandbox the staged extensions."""
        return self._mounts(self.extensions_root, EXTENSIONS_DIR, self.extensions.values())

    def _mounts(self, root: str, target: str, found: Iterable[StagedBuildpack]) -> tuple[Mount, ...]:
        if not root:
            return ()
        if not self.beside:
            return (Mount(source=root, target=target, content=os.path.basename(root)),)
        places = ((f"{BuildpackId(b.id).escaped}/{b.version}", b.digest) for b in found if b.digest)
        return tuple(
            Mount(source=f"{root}/{place}", target=f"{target}/{place}", content=digest) for place, digest in places
        )
