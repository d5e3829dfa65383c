"""The body of `packrunner builder lock`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import events, paths
from packrunner.bases.installed import summary
from packrunner.cli.builder_wish import FILE
from packrunner.console import units
from packrunner.errors import UsageError
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.bases.installed import Change
    from packrunner.cli.session import Session


class LockWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is locked: a base, or the recipe of the builder.toml `config`. `file` is the lock."""

    base: str
    config: str
    file: str
    check: bool
    take: bool


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A lock: of what, how many packages are in each image, and what became of them since `before`."""

    reference: str
    file: str
    before: str | None
    after: str
    packages: Mapping[str, int]
    images: Mapping[str, Sequence[Change]]

    @property
    def changed(self) -> bool:
        """Whether it says something else than before."""
        return self.before != self.after


def wish(base: str | None, *, config_file: str | None, file: str | None, check: bool, take: bool) -> LockWish:
    """What was asked for. Raises UsageError."""
    if base and config_file:
        raise UsageError("either BASE is locked or a builder.toml", slug="usage", tries=("leave out --config",))
    if take and (check or not base):
        what = "--take and --check exclude each other" if check else "--take needs BASE"
        raise UsageError(what, slug="usage", tries=("packrunner builder lock debian:13 --take",))
    here = paths.working_directory()
    config = os.path.join(here, config_file or FILE)
    beside = f"{base.replace(':', '-')}.lock" if base else f"{config.removesuffix('.toml')}.lock"
    return LockWish(base=base or "", config=config, file=os.path.join(here, file or beside), check=check, take=take)


def lock(session: Session, wish: LockWish, *, ca_certs: tuple[str, ...]) -> int:
    """Lock, look, or take; the result is `FILE@digest of the lock`."""
    began = time.monotonic()
    found = session.services.lock_builder(wish, ca_certs=ca_certs, reporter=session.renderer())
    if session.json:
        session.document("builder-lock/1", _document(found))
        return 0
    shown = readable(found.file)
    tell(session, found.images)
    spent = units.duration(time.monotonic() - began)
    if wish.check:
        text, hint = f"{shown} is the lock of {found.reference}.", ""
    elif wish.take:
        text, hint = f"Builds with {found.reference} use the packages of {shown} now.", ""
    elif found.changed:
        text = f"Locked {found.reference} in {spent}: {_counted(found.packages)}."
        make = f"packrunner builder lock {wish.base} --take" if wish.base else "packrunner builder create NAME"
        hint = f"Keep {shown} with its builder. {'On another machine' if wish.base else 'Make it'}: {make}"
    else:
        text, hint = f"{shown} has the newest packages already ({found.after[7:19]}).", ""
    session.renderer().emit(events.Finished(text=text, hint=hint))
    session.result(f"{shown}@{found.after}")
    return 0


def tell(session: Session, images: Mapping[str, Sequence[Change]]) -> None:
    """Say which packages became others, with -v each of them."""
    reporter = session.renderer()
    for image, packages in images.items():
        if packages:
            reporter.emit(events.Noted(text=f"{image}: {summary(packages)}", always=True))
        for change in packages:
            reporter.emit(events.Noted(text=f"{image}: {change}"))


def _counted(packages: Mapping[str, int]) -> str:
    return ", ".join(f"{units.number(count, 'package')} in {image}" for image, count in packages.items())


def _document(found: Locked) -> dict[str, Any]:
    return {
        "base": found.reference,
        "file": found.file,
        "before": found.before,
        "after": found.after,
        "changed": found.changed,
        "packages": dict(found.packages),
        "images": {image: [change.to_json() for change in packages] for image, packages in found.images.items()},
    }
