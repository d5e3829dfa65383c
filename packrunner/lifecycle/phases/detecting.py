"""The phase `detect`: order.toml in, group.toml and plan.toml out (DET-24, DET-25)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.catalog.installed import installed
from packrunner.errors import DetectError
from packrunner.formats.analyzed import Analyzed
from packrunner.formats.group import Group, System
from packrunner.lifecycle import detect as detection
from packrunner.lifecycle.phases import documents
from packrunner.lifecycle.phases.running import room

if TYPE_CHECKING:
    from packrunner.engines.base import Engine
    from packrunner.events import Reporter
    from packrunner.lifecycle.detect import DetectResult
    from packrunner.lifecycle.phases.setting import Setting


def detect(setting: Setting, engine: Engine, reporter: Reporter) -> DetectResult:
    """Find the group that builds the application. Raises what `lifecycle.detect` and `catalog.installed` raise."""
    order = documents.order(setting)
    system = documents.system(setting) if setting.features.system else System()
    refs = [ref for group in order.order for ref in group.group]
    refs += [*system.system.pre.buildpacks, *system.system.post.buildpacks]
    buildpacks = installed(refs, setting.places.buildpacks)
    wanted = [ref for group in order.order_extensions for ref in group.group]
    extensions = installed(wanted, setting.places.extensions, kind="extension") if wanted else {}
    # Platforms may detect before they analyze.
    known = documents.analyzed(setting, DetectError) if os.path.exists(setting.files.analyzed) else Analyzed()
    with room(setting, engine) as where:
        found = detection.detect(
            detection.DetectInputs(
                order=order,
                system=system,
                buildpacks=buildpacks,
                extensions=extensions,
                plans_dir=where.plans,
                target=documents.target(known),
                image_env=setting.image_env,
                platform_env=documents.user_env(setting),
                operator=documents.operator_env(setting),
                home=setting.user.home,
                exec_env=setting.exec_env,
                platform_api=setting.platform_api,
                places=where.places,
                owner=setting.owner,
            ),
            sandbox=where.sandbox,
            reporter=reporter,
        )
    documents.save(setting.files.group, Group(group=found.group, group_extensions=found.extensions), setting)
    documents.save(setting.files.plan, found.plan, setting)
    return found
