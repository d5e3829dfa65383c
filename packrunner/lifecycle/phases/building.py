"""The phase `build`: group.toml and plan.toml in, layers and <layers>/config/metadata.toml out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.catalog.installed import installed
from packrunner.errors import BuildError
from packrunner.formats.analyzed import Analyzed
from packrunner.formats.buildpack import GroupRef
from packrunner.lifecycle import build as building
from packrunner.lifecycle.phases import documents
from packrunner.lifecycle.phases.running import room

if TYPE_CHECKING:
    from packrunner.engines.base import Engine
    from packrunner.events import Reporter
    from packrunner.lifecycle.build import BuildResult
    from packrunner.lifecycle.phases.extending import ExtendedBuild
    from packrunner.lifecycle.phases.setting import Setting


def build(setting: Setting, engine: Engine, reporter: Reporter, *, image: ExtendedBuild | None = None) -> BuildResult:
    """Run bin/build of each member of the group, on an extended build image if there is one.

    Raises what `lifecycle.build` raises.
    """
    found = documents.group(setting, BuildError)
    group = found.group
    refs = [GroupRef(id=member.id, version=member.version) for member in group]
    present = os.path.exists(setting.files.analyzed)
    known = documents.analyzed(setting, BuildError) if present else Analyzed()
    with room(setting, engine, rootfs=image.rootfs if image else ()) as where:
        return building.build(
            building.BuildInputs(
                layers=setting.places.layers,
                plans=where.plans,
                owner=setting.owner,
                group=group,
                plan=documents.plan(setting, BuildError),
                buildpacks=installed(refs, setting.places.buildpacks),
                image_env=image.env if image else setting.image_env,
                home=setting.user.home,
                target=documents.target(known),
                platform_env=documents.user_env(setting),
                operator=documents.operator_env(setting),
                exec_env=setting.exec_env,
                platform_api=setting.platform_api,
                places=where.places,
                extensions=found.group_extensions,
                extended_env=image.extended if image else {},
            ),
            sandbox=where.sandbox,
            reporter=reporter,
        )
