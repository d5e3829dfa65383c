"""Whom we trust, and who we are, on a TLS connection to one registry."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from packrunner import certificates
from packrunner.errors import UsageError
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.registry.settings import RegistrySettings


def context(host: str, settings: RegistrySettings, *, checked: bool = True) -> ssl.SSLContext:
    """The context for `host` or `host:port`. Raises UsageError (`ca-cert`, `client-cert`) naming a wrong file."""
    own = [path for directory in settings.certificate_directories for path in _files(os.path.join(directory, host))]
    authorities = (*settings.ca_files, *(path for path in own if path.endswith(".crt")))
    made = certificates.context(certificates.Certificates(files=authorities), settings.environ)
    if not checked:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if settings.client_certificate:
        _present(made, settings.client_certificate.certificate, settings.client_certificate.key)
    for path in own:
        if path.endswith(".cert"):
            _present(made, path, path.removesuffix(".cert") + ".key")
    return made


def _files(directory: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    yield from (os.path.join(directory, name) for name in names)


def _present(made: ssl.SSLContext, certificate: str, key: str) -> None:
    def no_password() -> str:
        raise _unusable(certificate, f"the key in {readable(key or certificate)} is encrypted")

    try:
        made.load_cert_chain(certificate, key or None, no_password)
    except ssl.SSLError as error:
        raise _unusable(certificate, (error.reason or "it is not in PEM form").replace("_", " ").lower()) from error
    except OSError as error:
        raise _unusable(certificate, os.strerror(error.errno or 0)) from error


def _unusable(path: str, cause: str) -> UsageError:
    return UsageError(f"{readable(path)} and its key cannot be shown to registries", slug="client-cert", cause=cause)
