"""Which certificate authorities are believed: this machine's, and those of --ca-cert; and what errors of TLS mean."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.errors import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

HOST = "host"
HOST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine without the package
)

_LARGEST = 16 << 20
_BLOCK = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.+?-----END (?:TRUSTED |X509 )?CERTIFICATE-----", re.DOTALL
)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """What --ca-cert gave. `host`: this machine's bundle is for builds too; `files`: absolute paths."""

    host: bool = True
    files: tuple[str, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str], cwd: str) -> Certificates:
        """Read values of --ca-cert: `host`, or files; none of them means `host`."""
        given = tuple(texts)
        files = tuple(os.path.normpath(os.path.join(cwd, os.path.expanduser(text))) for text in given if text != HOST)
        return cls(host=HOST in given or not given, files=files)

    def each(self) -> list[bytes]:
        """Every certificate of the files, in PEM. Raises UsageError (`ca-cert`) naming a wrong file (NET-07)."""
        return [block for path in self.files for block in read_pem(path)]


def read_pem(path: str) -> list[bytes]:
    """The certificates of a PEM file, each seen to be one. Raises UsageError (`ca-cert`)."""
    import ssl

    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise _wrong(path, os.strerror(error.errno or 0)) from error
    if len(text) > _LARGEST:
        raise _wrong(path, f"it is larger than {_LARGEST >> 20} MiB")
    if _KEY.search(text):
        raise _wrong(
            path,
            "it holds a private key, which no build should see",
            "openssl x509 -in FILE, for the certificate alone",
        )
    blocks = [block + b"\n" for block in _BLOCK.findall(text)]
    if not blocks:
        raise _wrong(path, "there is no certificate in PEM in it", "openssl x509 -inform DER -in FILE -out FILE.pem")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for block in blocks:
            context.load_verify_locations(cadata=block.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise _wrong(path, "a certificate in it is damaged") from error
    return blocks


def _wrong(path: str, cause: str, *tries: str) -> UsageError:
    shown = paths.readable(path)
    return UsageError(f"{shown} gives no certificates", slug="ca-cert", cause=cause, at=shown, tries=tries)


def host_bundle(environ: Mapping[str, str], candidates: tuple[str, ...] = HOST_BUNDLES) -> str | None:
    """The path of the host's CA bundle: SSL_CERT_FILE, else the first well-known one that can be read."""
    named = environ.get("SSL_CERT_FILE", "")
    for path in (named, *candidates) if named else candidates:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            return path
    return None


def context(certificates: Certificates, environ: Mapping[str, str]) -> ssl.SSLContext:
    """What our own connections believe: this machine's authorities, and the files'. Raises UsageError (`ca-cert`)."""
    import ssl

    made = ssl.create_default_context()
    named = environ.get("SSL_CERT_FILE")
    if named:
        # OpenSSL would say nothing of a file that is missing, and believe nobody.
        read_pem(named)
    known = ssl.get_default_verify_paths()
    if not named and not known.cafile and not (known.capath and os.listdir(known.capath)):
        found = host_bundle(environ)
        if found:
            made.load_verify_locations(found)
    for block in certificates.each():
        made.load_verify_locations(cadata=block.decode("ascii"))
    return made


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What a TLS error means: `why` continues the host's name; what to do; whether it may go better next time."""

    why: str
    tries: tuple[str, ...] = ()
    lasting: bool = True


def explain(error: ssl.SSLError, host: str, *, now: float | None = None) -> Refusal:
    """An error of TLS in words (NET-08)."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return _unbelieved(error, host, time.time() if now is None else now)
    reason = error.reason or ""
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason or "BAD_CERTIFICATE" in reason:
        return Refusal(why="it wants a certificate from us, and has not got one that it accepts")
    if "WRONG_VERSION_NUMBER" in reason or "UNKNOWN_PROTOCOL" in reason or "HTTP_REQUEST" in reason:
        return Refusal(why="what answers there does not speak TLS")
    text = reason.replace("_", " ").lower() or str(error)
    return Refusal(why=f"TLS failed: {text}", lasting=False)


_NOT_YET, _EXPIRED, _HOST_NAMES, _UNKNOWN = 9, 10, frozenset({62, 64}), frozenset({2, 18, 19, 20, 21})


def _unbelieved(error: ssl.SSLCertVerificationError, host: str, now: float) -> Refusal:
    code = error.verify_code
    clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if code in {_NOT_YET, _EXPIRED}:
        what = "is not valid yet" if code == _NOT_YET else "has expired"
        return Refusal(
            why=f"its certificate {what}, by this machine's clock, which says {clock}",
            tries=("set the clock, if that is not the time",)
            if code == _NOT_YET
            else (f"tell whoever runs {host}", "set the clock, if that is not the time"),
        )
    if code in _HOST_NAMES:
        return Refusal(why=f"its certificate is for another host than {host}")
    if code in _UNKNOWN:
        return Refusal(
            why="its certificate is signed by an authority that is not known here, as that of a company's proxy is",
            tries=("--ca-cert FILE, with the certificate of that authority in PEM",),
        )
    return Refusal(why=f"its certificate is not believed: {error.verify_message}")
