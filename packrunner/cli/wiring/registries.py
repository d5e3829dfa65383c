"""Registries as one command speaks to them: opened when first needed, closed with the command."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from packrunner import paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.cli.wiring.reach import Reach
    from packrunner.events import Reporter
    from packrunner.images.registry.registry import Registry


class Registries:
    """Gives the one client of a command; until it is asked for, nothing of it is imported."""

    def __init__(self, stack: ExitStack, reporter: Reporter, within: Reach, *, insecure: Sequence[str] = ()) -> None:
        self._stack = stack
        self._reporter = reporter
        self._within = within
        self._insecure = insecure
        self._client: Registry | None = None

    @property
    def client(self) -> Registry:
        """The client."""
        if self._client is None:
            from packrunner.images.registry.logins import StoredLogins
            from packrunner.images.registry.registry import Registry
            from packrunner.images.registry.settings import RegistrySettings

            settings = RegistrySettings(
                insecure=frozenset(self._insecure), offline=self._within.offline, environ=os.environ
            )
            logins = StoredLogins(os.environ, self._reporter)
            directory = os.path.join(paths.cache_dir(), "registry")
            self._client = self._stack.enter_context(Registry(settings, logins, directory=directory))
        return self._client


@contextmanager
def registry(reporter: Reporter, *, insecure: Sequence[str] = ()) -> Iterator[Registry]:
    """Images in registries, for the phases; as configured."""
    from packrunner.cli.wiring import reach

    with ExitStack() as stack:
        yield Registries(stack, reporter, reach.configured(), insecure=insecure).client
