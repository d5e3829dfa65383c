"""What a build is made from, what it goes on with on its way, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.formats.api import PLATFORM_API
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from packrunner.catalog.select import Selection
    from packrunner.engines.base import Engine, Extender, Mount, Network, User
    from packrunner.events import Reporter
    from packrunner.formats.group import GroupMember
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.formats.plan import Plan
    from packrunner.images.image import Image, Layer
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle import cache
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.application import Rules
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.explain import GroupOutcome
    from packrunner.lifecycle.export import ExportResult
    from packrunner.lifecycle.extending import RunImages
    from packrunner.lifecycle.restore import LayerDecision
    from packrunner.lifecycle.sbom import Sbom


class BuildImage(msgspec.Struct, frozen=True, kw_only=True):
    """Where buildpacks run: a stack of directories, the environment and user that go with it.

    `image` and `tree` are for engines that do not show directories, as in SandboxSpec; `reference` stands for its
    content; `operator` holds the files of its /cnb/build-config/env, `extended` are the variables that image extensions
    gave it.
    """

    rootfs: tuple[str, ...]
    image: Image | None = None
    tree: str = ""
    env: Mapping[str, str]
    user: User
    reference: str = ""
    operator: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    extended: Mapping[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to build and from what; `table` is the source's fingerprint and `before` that of the last build, or b"".

    `env` are the user's variables for buildpacks, `bindings` what they find at /platform/bindings, `place` the
    directory of the workspace, `records` that of what is known of extended images; `run_images` are those that
    extensions can choose from. `previous` is the image whose metadata and layers are reused, by its name, `names` are
    further ones for the result; `volumes` are what else buildpacks see. `outside` is a cache of other machines too.
    """

    name: str
    names: tuple[str, ...] = ()
    previous: tuple[str, Image | None]
    source: str
    table: bytes
    before: bytes = b""
    rules: Rules
    env: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    place: str
    selection: Selection
    build_image: BuildImage
    run_image: RunImage
    run_images: RunImages
    records: str
    platform_api: str = PLATFORM_API
    network: Network = "host"
    volumes: tuple[Mount, ...] = ()
    places: Places = PLACES
    process_type: str = ""
    exec_env: str = "production"
    outside: OutsideCache | None = None
    elsewhere: Callable[[Layer], BinaryIO] | None = None
    """Gives the bytes of a layer of `previous` that are not in the store."""
    clear_cache: bool = False
    source_date_epoch: str | None = None
    project: Mapping[str, Any] = field(default_factory=dict)


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What builds are done with; `launcher` is the host path of the program that goes into every image.

    `overlays` says whether the application can be shown copy-on-write, `owner` who must own what sandboxes write
    when that is not the caller.
    """

    engine: Engine
    extender: Extender
    store: LocalStore
    snapshots: Snapshots
    reporter: Reporter
    launcher: str
    overlays: bool
    owner: tuple[int, int] | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the build goes on with: images, and the plan without what extensions provide (EXT-10).

    `chosen` is the name of a run image that an extension chose. `repeatable` is false where the same inputs could make
    other images next time.
    """

    build_image: BuildImage
    run: RunImage
    plan: Plan
    chosen: str = ""
    repeatable: bool = True


class KnownBefore(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of the last build, here and in its image, and what came of it.

    `carried` are the layers, by diff id, that came from a cache elsewhere.
    """

    label: LifecycleLabel
    cache: cache.CacheRecord
    decisions: tuple[LayerDecision, ...]
    carried: frozenset[str] = frozenset()


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build: the image as stored, and what became of each layer.

    `known` is what the last build left, and what became of it; `outcomes` are those of the groups that were tried, the
    last of which fitted; `chosen` is the run image that an extension chose, "" for
    none; `repeatable` is false where the same inputs could make another image next time.
    """

    image: Image
    group: tuple[GroupMember, ...]
    exported: ExportResult
    sboms: tuple[Sbom, ...]
    first: bool
    known: KnownBefore
    outcomes: tuple[GroupOutcome, ...]
    extensions: tuple[GroupMember, ...] = ()
    chosen: str = ""
    repeatable: bool = True
