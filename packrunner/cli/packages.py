"""The bodies of `packrunner buildpack` and of `packrunner builder create`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from packrunner import config, events
from packrunner.cli import package_page
from packrunner.console import units
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.package_wish import PackageWish
    from packrunner.cli.session import Session


def package(session: Session, wish: PackageWish, *, insecure: Sequence[str], ca_certs: Sequence[str]) -> int:
    """Make a package; one result line for each place."""
    began = time.monotonic()
    chosen = config.resolve("insecure-registry", flag=tuple(insecure), environ=session.environ).value
    made = session.services.package(wish, insecure=chosen, ca_certs=ca_certs, reporter=session.renderer())
    inside = ", ".join(made.contents)
    spent = units.duration(time.monotonic() - began)
    session.renderer().emit(events.Finished(text=f"Packaged {inside} in {spent}."))
    for place, digest in made.made:
        session.result(f"{place}@{digest}")
    return 0


def create_builder(session: Session, wish: BuilderWish, *, insecure: Sequence[str], ca_certs: Sequence[str]) -> int:
    """Make a builder; one result line for each name."""
    began = time.monotonic()
    chosen = config.resolve("insecure-registry", flag=tuple(insecure), environ=session.environ).value
    made = session.services.create_builder(
        wish, insecure=chosen, ca_certs=ca_certs, reporter=session.renderer(), known=session.known
    )
    inside = units.number(made.modules, "buildpack")
    spent = units.duration(time.monotonic() - began)
    text = f"Created a builder on {made.base} with {inside} in {spent}."
    hint = f"Build with it: packrunner build --builder {wish.names[0]}"
    session.renderer().emit(events.Finished(text=text, hint=hint))
    for name in wish.names:
        session.result(f"{name}@{made.digest}")
    return 0


def inspect(
    session: Session, reference: str, *, json: bool, depth: int, insecure: Sequence[str], ca_certs: Sequence[str]
) -> int:
    """Show what is in a package."""
    chosen = config.resolve("insecure-registry", flag=tuple(insecure), environ=session.environ).value
    found = session.services.look_into(reference, insecure=chosen, ca_certs=ca_certs, reporter=session.renderer())
    if json:
        session.document("package/1", package_page.facts(found))
    else:
        session.result("\n".join(package_page.page(found, depth=depth)))
    return 0


def check_package(session: Session, name: str, *, insecure: Sequence[str], ca_certs: Sequence[str]) -> None:
    """Refuse an image that is no package, before any layer of it is fetched."""
    chosen = config.resolve("insecure-registry", flag=tuple(insecure), environ=session.environ).value
    session.services.look_into(name, insecure=chosen, ca_certs=ca_certs, reporter=session.renderer())


def validate(session: Session, directories: Sequence[str], *, strict: bool, json: bool) -> int:
    """Look over buildpacks; 2 when one of them cannot be used."""
    import msgspec

    verdicts = session.services.validate(directories)
    if json:
        session.document("validation/1", {"buildpacks": [msgspec.to_builtins(one) for one in verdicts]})
    else:
        session.result("\n".join(line for one in verdicts for line in package_page.verdict(one)))
    good = all(one.is_good and not (strict and one.findings) for one in verdicts)
    return 0 if good else UsageError.exit_code
