"""What a builder is, asked of all that could be one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import bases, finding, places
from packrunner.cli.wiring.bringing import stage_dir

if TYPE_CHECKING:
    from packrunner.bases import Base
    from packrunner.catalog.builder_image import ImageBuilder
    from packrunner.cli.builder_page import BuilderFacts
    from packrunner.events import Reporter


def inspect_builder(reference: str, *, reporter: Reporter) -> BuilderFacts:
    """Read a builder's labels and files; of a recipe, what its lock and the built-in buildpacks say."""
    from packrunner.bases.recipes import is_recipe

    images, unpacked = places.store(), places.snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        if is_recipe(reference):
            from packrunner.bases import open_base

            base = open_base(
                reference,
                settings=places.base_settings(),
                store=images,
                snapshots=unpacked,
                engine=places.engine(),
                reporter=reporter,
                images=(),
            )
            stack.callback(base.close)
            return _recipe(base)
        stack.enter_context(images.lease())
        builder = bases.image_builder(reference, unpacked, finding.configured(images, stack, reporter), look=True)
        stack.callback(builder.close)
        here = all(images.has(layer.blob.digest, layer.blob.size) for layer in builder.image.layers)
        return _image(builder, here=here)


def _image(builder: ImageBuilder, *, here: bool) -> BuilderFacts:
    from packrunner.cli.builder_page import BuilderFacts
    from packrunner.formats import builder as labels
    from packrunner.formats.group import SystemTable

    about = builder.metadata
    listed = tuple((b.id, b.version) for b in about.buildpacks or () if b.id)
    # Of one that was only looked at, the label alone could say that there are any.
    told = builder.system.system if here else labels.read_system(builder.labels, where=builder.reference)
    system = told or SystemTable()
    return BuilderFacts(
        reference=builder.reference,
        digest=builder.image.digest,
        platform=str(builder.target),
        user=builder.ids,
        platform_api=builder.platform_api,
        run_images=builder.run_images,
        buildpacks=listed or builder.carried.all(),
        order=builder.order.order,
        extensions=builder.order.order_extensions,
        before=system.pre.buildpacks,
        after=system.post.buildpacks,
        description=about.description,
        made_by=f"{about.created_by.name} {about.created_by.version}".strip(),
        lifecycle=about.lifecycle.version,
        stack=builder.labels.get("io.buildpacks.stack.id", ""),
        recipe=labels.read_recipe(builder.labels, where=builder.reference),
    )


def _recipe(base: Base) -> BuilderFacts:
    from packrunner.catalog.select import CatalogSettings, select
    from packrunner.cli.builder_page import BuilderFacts
    from packrunner.formats.builder import Recipe

    found = select((), settings=CatalogSettings(stage_dir=stage_dir()))
    return BuilderFacts(
        reference=base.reference,
        digest=base.digest,
        platform=str(base.target),
        user=(base.user.uid, base.user.gid),
        platform_api=base.platform_api,
        run_images=base.run_images,
        buildpacks=tuple(found.buildpacks),
        order=found.order.order,
        before=found.system.system.pre.buildpacks,
        after=found.system.system.post.buildpacks,
        made_by="packrunner, from Debian's packages",
        recipe=Recipe(suite=base.reference, lock=str(base.digest), packages=base.counts),
        resolved_at=base.resolved_at,
    )
