"""How far a command reaches: which certificate authorities it believes, and whether it may use a network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner import config, paths
from packrunner.certificates import Certificates
from packrunner.lifecycle.bindings import Held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.lifecycle.request import BuildRequest


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What --ca-cert and --offline say."""

    certificates: Certificates = Certificates()
    offline: bool = False


def of(request: BuildRequest) -> Reach:
    """What a request says."""
    return Reach(certificates=Certificates.parse(request.ca_certs, "/"), offline=request.offline)


def configured(ca_certs: Sequence[str] = (), *, offline: bool = False) -> Reach:
    """What these flags say, else the environment or config.toml."""
    settings = config.load()
    texts = config.resolve("ca-cert", flag=tuple(ca_certs), environ=os.environ, config=settings).value
    off = config.resolve("offline", flag=offline, environ=os.environ, config=settings).value
    return Reach(
        certificates=Certificates.parse(texts, paths.working_directory()) if texts else Certificates(), offline=off
    )


def with_certificates(held: Held | None, certificates: Certificates) -> Held:
    """The bindings and one more with the files' certificates, for builders that have a buildpack for such.

    Not with the host's own: the sandbox's bundle has them, and the buildpack would put all of them into the image's
    environment.
    """
    own = held.bindings if held else {}
    found = certificates.each()
    if not found or any(files.get("type", b"").strip() == _TYPE for files in own.values()):
        return held or Held()
    files = {f"ca-{number}.pem": certificate for number, certificate in enumerate(found, 1)}
    return Held({_NAME: {"type": _TYPE, **files}, **own})


_NAME, _TYPE = "packrunner-ca-certificates", b"ca-certificates"
