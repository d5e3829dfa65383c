"""How registries are reached: what is trusted, through whom, for which platform, how patiently."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.images.manifest import PlatformFile, this_platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files with which registries are told who we are; `key` is "" where `certificate` holds it too."""

    certificate: str
    key: str = ""


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is the same for all registries of one command; times are in seconds.

    Registries are `host` or `host:port`, as in names of images.
    """

    insecure: frozenset[str] = frozenset()
    """Registries whose certificates are not checked, and that may speak plain HTTP, as those on loopback always may."""
    mirrors: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Registries to read from first, by the registry that they mirror."""
    ca_files: tuple[str, ...] = ()
    """PEM files of certificate authorities that are trusted beside the system's, or SSL_CERT_FILE's."""
    client_certificate: ClientCertificate | None = None
    certificate_directories: tuple[str, ...] = ()
    """Directories with one directory a registry, as docker's `certs.d`: `*.crt`, and `*.cert` with `*.key`."""
    token_servers: frozenset[str] = frozenset()
    """Hosts that may be told a login although they are of another site than the registry."""
    platform: PlatformFile = msgspec.field(default_factory=this_platform)
    offline: bool = False
    """Refuse every connection, that to loopback excepted."""
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)
    """For the proxies' variables, SSL_CERT_FILE and SSL_CERT_DIR."""
    connections: int = 6
    idle: float = 30.0
    """How long nothing may come, or go, on a connection."""
    patience: float = 60.0
    """How long one transfer may go on without getting further, attempts and waits taken together."""
    sleep: Callable[[float], None] = msgspec.field(default=time.sleep)
    clock: Callable[[], float] = msgspec.field(default=time.monotonic)
