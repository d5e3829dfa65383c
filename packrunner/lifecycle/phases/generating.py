"""The phase `generate`: bin/generate of the group's extensions; Dockerfiles below <generated> out, analyzed.toml and
plan.toml brought up to date (EXT-05, EXT-08 - EXT-10). The reference's detector ends with it, and so does `detect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.catalog.installed import installed
from packrunner.errors import GenerateError
from packrunner.formats.buildpack import GroupRef
from packrunner.lifecycle import generate as generation
from packrunner.lifecycle.phases import documents
from packrunner.lifecycle.phases.running import room

if TYPE_CHECKING:
    from packrunner.engines.base import Engine
    from packrunner.events import Reporter
    from packrunner.lifecycle.generate import GenerateResult
    from packrunner.lifecycle.phases.setting import Setting


def generate(setting: Setting, engine: Engine, reporter: Reporter) -> GenerateResult | None:
    """Run the extensions of the group; nothing happens without any. Raises what `lifecycle.generate` raises."""
    extensions = documents.group(setting, GenerateError).group_extensions
    if not extensions:
        return None
    analyzed = documents.analyzed(setting, GenerateError)
    refs = [GroupRef(id=member.id, version=member.version) for member in extensions]
    known = documents.run_images(setting).images
    with room(setting, engine) as where:
        result = generation.generate(
            generation.GenerateInputs(
                generated=setting.generated,
                generated_inside=setting.generated,
                plans=where.plans,
                owner=setting.owner,
                extensions=extensions,
                plan=documents.plan(setting, GenerateError),
                staged=installed(refs, setting.places.extensions, kind="extension"),
                image_env=setting.image_env,
                home=setting.user.home,
                target=documents.target(analyzed),
                run_image=analyzed.run_image.image if analyzed.run_image else "",
                run_images=frozenset(name for entry in known for name in entry.names),
                platform_env=documents.user_env(setting),
                operator=documents.operator_env(setting),
                exec_env=setting.exec_env,
                platform_api=setting.platform_api,
                places=where.places,
            ),
            sandbox=where.sandbox,
            reporter=reporter,
        )
    documents.save(setting.files.plan, result.plan, setting)
    documents.save(setting.files.analyzed, generation.analyzed_after(analyzed, result), setting)
    return result
