"""order.toml, system.toml and group.toml (IMG-05, IMG-08, DET-24)."""

from __future__ import annotations

import msgspec

from packrunner.formats.buildpack import GroupRef, OrderGroup


class Order(msgspec.Struct, frozen=True, rename="kebab"):
    """order.toml: groups to try, and groups of extensions in front of each."""

    order: tuple[OrderGroup, ...] = ()
    order_extensions: tuple[OrderGroup, ...] = ()


class SystemRefs(msgspec.Struct, frozen=True):
    """`[system.pre]` or `[system.post]`."""

    buildpacks: tuple[GroupRef, ...] = ()


class SystemTable(msgspec.Struct, frozen=True):
    """`[system]`: buildpacks that join every group (BPD-11)."""

    pre: SystemRefs = SystemRefs()
    post: SystemRefs = SystemRefs()


class System(msgspec.Struct, frozen=True):
    """system.toml."""

    system: SystemTable = SystemTable()


class GroupMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member of the chosen group."""

    id: str
    version: str
    api: str
    homepage: str = ""


class Group(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """group.toml: who builds, in order."""

    group: tuple[GroupMember, ...] = ()
    group_extensions: tuple[GroupMember, ...] = ()
