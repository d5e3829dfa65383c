"""Locks of recipes and of bases, composed."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.catalog import creating
from packrunner.cli.locking import Locked
from packrunner.cli.services import BaseUpdate
from packrunner.cli.wiring import beneath, places
from packrunner.cli.wiring.transferring import Transfer
from packrunner.disk import write_atomic
from packrunner.errors import UsageError
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.bases.lock import Lock
    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.locking import LockWish
    from packrunner.cli.wiring.beneath import Around
    from packrunner.events import Reporter
    from packrunner.formats.builder_file import Recipe


def lock_builder(wish: LockWish, *, ca_certs: Sequence[str], reporter: Reporter) -> Locked:
    """Write, look over or take a lock."""
    with ExitStack() as stack:
        snapshots = places.snapshots()
        stack.callback(snapshots.close)
        transfer = Transfer(stack, reporter, ca_certs=ca_certs)
        around = beneath.Around(transfer=transfer, snapshots=snapshots, ca_certs=ca_certs, stack=stack)
        return _base(wish, around) if wish.base else _recipe(wish, around)


def recipe_of(config: str) -> Recipe:
    """The recipe in a builder.toml. Raises UsageError where it has none."""
    recipe = creating.read_file(config).recipe
    if recipe is None:
        raise UsageError(
            f"{readable(config)} has no recipe to lock",
            slug="builder-lock",
            cause="which packages are in an image is settled by its digest, NAME@sha256:...",
            at=readable(config),
            tries=('[recipe] with suite = "debian:13", instead of the images',),
        )
    return recipe


def _recipe(wish: LockWish, around: Around) -> Locked:
    team = beneath.team(recipe_of(wish.config), wish.config, around, lock=wish.file)
    if wish.check:
        found = team.locked()
        if found is None:
            raise _missing(wish.file)
        return _told(found, found, wish.file)
    before = team.former()
    after = team.resolve()
    # Also where it is the same: it is of today again.
    write_atomic(wish.file, after.to_json(), mode=0o644, sync=True)
    return _told(before, after, wish.file)


def _base(wish: LockWish, around: Around) -> Locked:
    from packrunner.bases import debian, parse_reference
    from packrunner.bases.base import Tools
    from packrunner.bases.blueprint import own
    from packrunner.bases.lock import lock_path, read_lock

    suite, settings = parse_reference(wish.base), places.base_settings()
    transfer = around.transfer
    tools = Tools(store=transfer.images, snapshots=around.snapshots, engine=places.engine(), reporter=transfer.reporter)
    here = read_lock(lock_path(settings.data_dir, suite.reference, settings.architecture))
    if wish.check or wish.take:
        there = _read(wish.file, suite.reference, settings.architecture)
        if wish.take:
            debian.prepare(own(suite), (), settings, tools, lock=there, given=True)
        elif here is None or here.digest != there.digest:
            raise UsageError(
                f"{suite.reference} is not here as {readable(wish.file)} has it",
                slug="builder-lock",
                cause=f"it is {here.digest.short}, and the file has {there.digest.short}" if here else "it is not here",
                tries=(f"packrunner builder lock {suite.reference} --take",),
            )
        return _told(here, there, wish.file)
    before = _read(wish.file, suite.reference, settings.architecture) if os.path.lexists(wish.file) else None
    after = here or debian.update(own(suite), settings, tools, dry_run=True).new
    write_atomic(wish.file, after.to_json(), mode=0o644, sync=True)
    return _told(before, after, wish.file)


def _read(file: str, reference: str, architecture: str) -> Lock:
    """A lock of one of packrunner's own bases."""
    from packrunner.bases.lock import read_lock
    from packrunner.bases.recipes import RECIPES

    found = read_lock(file, fix="packrunner builder lock, once more")
    if found is None:
        raise _missing(file)
    whole = found.recipe == "" and {*RECIPES} == {*found.images}
    if not whole or (found.reference, found.architecture) != (reference, architecture):
        what = f"{found.reference}, for {found.architecture}" if not found.recipe else "a builder's recipe"
        raise UsageError(
            f"{readable(file)} is no lock of {reference} for {architecture}",
            slug="builder-lock",
            cause=f"it is one of {what}" if whole or found.recipe else "it lacks images",
            at=readable(file),
            tries=(f"packrunner builder lock {reference}, on a machine of this architecture",),
        )
    return found


def _missing(file: str) -> UsageError:
    return UsageError(
        f"there is no {readable(file)}", slug="builder-lock", tries=("packrunner builder lock, to write it",)
    )


def update_recipe(wish: BuilderWish, *, dry_run: bool, ca_certs: Sequence[str], reporter: Reporter) -> BaseUpdate:
    """Take newer packages into a recipe's images, and make the builder anew; with `dry_run` only look."""
    from packrunner.cli.wiring.creating import create_builder
    from packrunner.lifecycle.rebasing import behind

    with ExitStack() as stack:
        snapshots = places.snapshots()
        stack.callback(snapshots.close)
        transfer = Transfer(stack, reporter, ca_certs=ca_certs)
        around = beneath.Around(transfer=transfer, snapshots=snapshots, ca_certs=ca_certs, stack=stack)
        team = beneath.team(recipe_of(wish.config), wish.config, around)
        done = team.renew(dry_run=dry_run)
        made = None if dry_run else create_builder(wish, insecure=(), ca_certs=ca_certs, reporter=reporter).digest
        return BaseUpdate(
            reference=wish.names[0],
            before=done.old.digest if done.old else None,
            after=done.new.digest,
            images={image: done.changes(image) for image in done.images},
            behind=behind(transfer.images.list(), team.blueprint.names.values()),
            builder=made,
        )


def _told(before: Lock | None, after: Lock, file: str) -> Locked:
    from packrunner.bases.debian import Update

    update = Update(old=before, new=after, images=tuple(after.images))
    return Locked(
        reference=after.reference,
        file=file,
        before=before.digest if before else None,
        after=after.digest,
        packages={image: len(names) for image, names in after.images.items()},
        images={image: update.changes(image) for image in after.images} if before else {},
    )
