"""Registries as one command speaks to them: opened when first needed, closed with the command."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner import config, paths
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.cli.wiring.reach import Reach
    from packrunner.events import Reporter
    from packrunner.images.registry.credentials import Logins
    from packrunner.images.registry.registry import Registry
    from packrunner.images.registry.settings import RegistrySettings


class Registries:
    """Gives the one client of a command; until it is asked for, nothing of it is imported.

    `logins` are the user's own unless given, `platform` is this machine's (of images for several).
    """

    def __init__(
        self,
        stack: ExitStack,
        reporter: Reporter,
        within: Reach,
        *,
        insecure: Sequence[str] = (),
        logins: Logins | None = None,
        platform: str = "",
    ) -> None:
        self._logins = logins
        self._platform = platform
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

            settings = self.settings
            if self._platform:
                from packrunner.images.manifest import parse_platform

                settings = msgspec.structs.replace(settings, platform=parse_platform(self._platform))
            logins = self._logins or StoredLogins(os.environ, self._reporter)
            directory = os.path.join(paths.cache_dir(), "registry")
            self._client = self._stack.enter_context(Registry(settings, logins, directory=directory))
        return self._client

    @property
    def settings(self) -> RegistrySettings:
        """How the network is to be used."""
        from packrunner.images.registry.settings import RegistrySettings

        return RegistrySettings(
            mirrors=mirrors(config.resolve("registry-mirrors", environ=os.environ, config=config.load()).value or ""),
            insecure=frozenset(self._insecure),
            ca_files=self._within.certificates.files,
            certificate_directories=certificate_directories(os.environ),
            offline=self._within.offline,
            environ=os.environ,
        )


def mirrors(text: str) -> dict[str, tuple[str, ...]]:
    """Read `REGISTRY=MIRROR`, divided by commas; those of one registry are asked in order. Raises UsageError."""
    from packrunner.images.reference import Reference

    found: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        registry, _, mirror = pair.partition("=")
        if not registry or not mirror or "/" in pair:
            raise UsageError(
                f"{pair!r} does not say which registry is mirrored where",
                slug="config-value",
                cause="registry-mirrors is REGISTRY=MIRROR, host names with their ports, divided by commas",
                tries=('registry-mirrors = "docker.io=mirror.example.com"',),
            )
        name = Reference.parse(f"{registry}/x/y").registry
        found[name] = (*found.get(name, ()), mirror)
    return found


def certificate_directories(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where docker and Podman look for certificates of single registries, in directories called `host:port`."""
    settings = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return (
        "/etc/docker/certs.d",
        "/etc/containers/certs.d",
        os.path.join(settings, "docker", "certs.d"),
        os.path.join(settings, "containers", "certs.d"),
    )


@contextmanager
def registry(reporter: Reporter, *, insecure: Sequence[str] = ()) -> Iterator[Registry]:
    """Images in registries, for the phases; as configured."""
    from packrunner.cli.wiring import reach

    with ExitStack() as stack:
        yield Registries(stack, reporter, reach.configured(), insecure=insecure).client
