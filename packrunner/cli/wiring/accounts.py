"""Logins to registries, composed: tried first, then kept."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.events import Reporter
    from packrunner.images.registry.credentials import Login
    from packrunner.images.registry.keeping import Kept


class _Typed:
    """The login that was just typed, for its registry alone; see `credentials.Logins`."""

    def __init__(self, registry: str, login: Login) -> None:
        self._registry = registry
        self._login = login

    def of(self, registry: str, repository: str) -> Login | None:  # noqa: ARG002  it is for all repositories
        return self._login if registry == self._registry else None


def log_in(
    registry: str, user: str, secret: str, *, insecure: bool, ca_certs: Sequence[str], reporter: Reporter
) -> Kept:
    """Try a login and keep it. Raises RefusedError (`registry-auth`), NetworkError, UsageError."""
    from packrunner.cli.wiring.registries import Registries
    from packrunner.images.registry.credentials import Login
    from packrunner.images.registry.keeping import Keeper, registry_name

    name = registry_name(registry)
    login = Login(kind="basic", user=user, secret=secret, source="what was typed")
    with ExitStack() as stack:
        registries = Registries(
            stack,
            reporter,
            reach.configured(ca_certs),
            insecure=(name,) if insecure else (),
            logins=_Typed(name, login),
        )
        registries.client.check_login(name)
    return Keeper(os.environ).keep(name, user, secret)


def log_out(registry: str) -> Sequence[str]:
    """Forget a login; says where it was."""
    from packrunner.images.registry.keeping import Keeper, registry_name

    return Keeper(os.environ).forget(registry_name(registry))


def logins() -> Iterator[Kept]:
    """The logins that are kept, without what is secret of them."""
    from packrunner.images.registry.keeping import Keeper

    return Keeper(os.environ).listed()
