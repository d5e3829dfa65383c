"""Rebase, newer bases and pruning, composed."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner import config, paths
from packrunner.cli.wiring import engines, places, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.cli.services import BaseUpdate, Pruned, Rebased
    from packrunner.cli.wiring.reach import Reach
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle import rebasing

_log = logging.getLogger(__name__)


def rebase(
    image: str,
    *,
    name: str,
    run_image: str | None,
    outputs: tuple[str, ...],
    force: bool,
    ca_certs: Sequence[str],
    reporter: Reporter,
) -> Rebased:
    """Put an image on the newest version of its base, or on `run_image`; in its place, or into `outputs`."""
    from packrunner.images.transfer import parse_locator
    from packrunner.lifecycle import rebasing
    from packrunner.lifecycle.created import created_at

    images, within = places.store(), reach.configured(ca_certs)
    with ExitStack() as stack:
        done = rebasing.run(
            rebasing.Job(
                image=parse_locator(image),
                name=name,
                run_image=run_image,
                force=force,
                outputs=tuple(map(parse_locator, outputs)),
                created=created_at(os.environ.get("SOURCE_DATE_EPOCH"), reporter),
            ),
            store=images,
            find=lambda wanted: _find_run_image(wanted, images, reporter, stack, within),
            reporter=reporter,
        )
    return _told(done)


def rebase_there(
    name: str,
    *,
    run_image: str | None,
    tags: tuple[str, ...],
    force: bool,
    insecure: Sequence[str],
    ca_certs: Sequence[str],
    reporter: Reporter,
) -> Rebased:
    """Put an image of a registry on the newest version of its base, or on `run_image`; no layer is pulled."""
    from packrunner.cli.wiring import delivering
    from packrunner.cli.wiring.transferring import Transfer
    from packrunner.images.transfer import Locator
    from packrunner.lifecycle import rebasing, rebasing_there
    from packrunner.lifecycle.created import created_at

    within = reach.configured(ca_certs)
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        bases = transfer.finder("always")
        done = rebasing_there.run(
            rebasing.Job(
                image=Locator(kind="store", path=name),
                name=name,
                run_image=run_image,
                force=force,
                tags=tags,
                created=created_at(os.environ.get("SOURCE_DATE_EPOCH"), reporter),
            ),
            read=transfer.registries.client.read,
            push=lambda image, names: (
                delivering.push(
                    transfer.registries, image, names, transfer.images, compression="gzip", reporter=reporter
                ).image
            ),
            find=lambda wanted: _find_run_image(wanted, transfer.images, reporter, stack, within, elsewhere=bases.peek),
            reporter=reporter,
        )
    return _told(done)


def _told(done: rebasing.Rebased) -> Rebased:
    from packrunner.cli.services import Rebased
    from packrunner.lifecycle import rebasing

    return Rebased(
        digest=done.image.digest,
        before=done.before,
        base=rebasing.shown(done.base.name),
        old_base=f"sha256:{done.old_base}",
        new_base=done.base.image.digest,
        replaced=done.replaced,
        kept=len(done.image.layers) - len(done.base.image.layers),
        packages=done.changes,
    )


def _find_run_image(
    name: str,
    images: LocalStore,
    reporter: Reporter,
    stack: ExitStack,
    within: Reach,
    *,
    elsewhere: Callable[[str], Image | None] | None = None,
) -> Image | None:
    """A run image; one of our own bases as its lock has it, made if need be. None where there is none."""
    from packrunner.bases.recipes import parse_image_name
    from packrunner.errors import UsageError

    own = parse_image_name(name)
    if own:
        from packrunner.bases.base import find_run_image, open_base

        suite, variant = own
        settings = places.base_settings(within)
        found = find_run_image(suite, variant, settings=settings, store=images, reporter=reporter)
        if found:
            return found
        unpacked = places.snapshots()
        stack.callback(unpacked.close)
        base = open_base(
            suite.reference,
            settings=settings,
            store=images,
            snapshots=unpacked,
            engine=places.engine(within.certificates),
            reporter=reporter,
            images=(variant,),
        )
        return base.run_image(variant)
    if elsewhere:
        return elsewhere(name)
    try:
        return places.read_image(name, images)
    except UsageError as e:
        if e.slug != "unknown-image":
            raise
        return None


def update_base(builder: str, *, dry_run: bool, reporter: Reporter, ca_certs: tuple[str, ...] = ()) -> BaseUpdate:
    """Take newer packages into a base; with `dry_run` only look."""
    from packrunner.bases import blueprint, debian, parse_reference
    from packrunner.bases.base import Tools
    from packrunner.bases.recipes import DEFAULT_REFERENCE, is_recipe
    from packrunner.cli.services import BaseUpdate
    from packrunner.errors import UsageError
    from packrunner.lifecycle.rebasing import behind

    if not is_recipe(builder):
        raise UsageError(
            f"{builder} is not made here, so its packages cannot be updated here",
            slug="unknown-builder",
            cause="newer versions of a builder's image come from its authors",
            tries=(
                f"packrunner builder update {builder} --config builder.toml, where that has a recipe",
                f"packrunner builder update {DEFAULT_REFERENCE}",
            ),
        )
    plan, images = blueprint.own(parse_reference(builder)), places.store()
    within = reach.configured(ca_certs)
    with ExitStack() as stack:
        unpacked = places.snapshots()
        stack.callback(unpacked.close)
        tools = Tools(store=images, snapshots=unpacked, engine=places.engine(within.certificates), reporter=reporter)
        done = debian.update(plan, places.base_settings(within), tools, dry_run=dry_run)
    return BaseUpdate(
        reference=plan.suite.reference,
        before=done.old.digest if done.old else None,
        after=done.new.digest,
        images={image: done.changes(image) for image in done.images},
        behind=behind(images.list(), plan.names.values()),
    )


def prune(*, everything: bool, dry_run: bool) -> Sequence[Pruned]:
    """Remove what nothing needs; with `everything` also caches and bases that the next build would use."""
    from packrunner.cli.services import Pruned
    from packrunner.lifecycle import housekeeping

    with ExitStack() as stack:
        unpacked = places.snapshots()
        stack.callback(unpacked.close)
        state = housekeeping.State(
            data_dir=paths.data_dir(), cache_dir=paths.cache_dir(), store=places.store(), snapshots=unpacked
        )
        freed = [
            Pruned(what=f.what, size=f.size) for f in housekeeping.clean(state, everything=everything, dry_run=dry_run)
        ]
        kept = os.path.join(paths.cache_dir(), engines.DOCKER_STATE)
        if os.path.isdir(kept):
            freed += _prune_engine(kept, stack, everything=everything, dry_run=dry_run)
    return freed


def _prune_engine(kept: str, stack: ExitStack, *, everything: bool, dry_run: bool) -> list[Pruned]:
    """What builds left in the Docker engine; one that cannot be reached now keeps it."""
    from packrunner.cli.services import Pruned
    from packrunner.engines.docker import upkeep
    from packrunner.errors import EngineError

    settings = config.load()
    host = config.resolve("docker-host", environ=os.environ, config=settings).value or ""
    try:
        size = upkeep.prune(engines.daemons(stack, host)(), kept, everything=everything, dry_run=dry_run)
    except EngineError as e:
        _log.info("the Docker engine is not cleaned up: %s", e.brief)
        return []
    return [Pruned(what="volumes and build images of the Docker engine", size=size)]
