"""What all phases of one build are told: where things are, at which level, for which user."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from packrunner.engines.base import User
from packrunner.formats.api import PLATFORM_API, PlatformFeatures, platform_features
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Paths of the files that phases and platforms hand to each other."""

    analyzed: str
    group: str
    plan: str
    order: str
    system: str
    run: str
    stack: str
    report: str
    project_metadata: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One platform's build. `image_env` is the environment of the build image: the container's own.

    `owner` is who must own what phases write: the build's user, when root writes.
    """

    files: Files
    platform_api: str = PLATFORM_API
    places: Places = PLACES
    generated: str = "/layers/generated"
    extended: str = "/layers/extended"
    build_config: str = "/cnb/build-config"
    user: User = field(default_factory=User)
    exec_env: str = "production"
    image_env: Mapping[str, str] = field(default_factory=dict)
    cache_image: str = ""
    cache_dir: str = ""
    skip_layers: bool = False

    @cached_property
    def features(self) -> PlatformFeatures:
        """What the platform's level has."""
        return platform_features(self.platform_api)

    @property
    def owner(self) -> tuple[int, int] | None:
        """The build's user, when it is root who writes."""
        return (self.user.uid, self.user.gid) if os.geteuid() == 0 else None
