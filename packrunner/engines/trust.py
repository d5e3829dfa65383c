"""What the host trusts, and how it reaches the network, told to the programs in a sandbox.

The bundle and the resolver's files lie in the topmost layer of the sandbox's own root, so no image ever holds
them; the variables go into the environment of buildpacks only.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from packrunner.certificates import HOST_BUNDLES, Certificates, host_bundle
from packrunner.confined import Root
from packrunner.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.engines.base import Network

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where the bundle is inside; the place that Debian's libraries read without being told."""

# Each tool reads another one: openssl, Go, Ruby, uv and Python's ssl; pip; requests; curl; git; Node; cargo; AWS.
_BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
BENCH_BUNDLE = "/run/packrunner/ca-certificates.crt"
"""A second copy on workbenches, whose commands may make the first one anew."""

EVERYONES = Certificates()
"""Without --ca-cert."""

_LARGEST_BUNDLE = 16 << 20
_LARGEST_FILE = 1 << 20
_MOST_CERTIFICATES = 1000
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """`env`: variables for programs inside. `files`: absolute paths inside and what they hold."""

    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)


def proxy_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The host's proxy settings in both spellings; the lower-case one counts where both are set."""
    found: dict[str, str] = {}
    for name in _PROXY_VARIABLES:
        value = environ.get(name) or environ.get(name.upper())
        if value:
            found[name] = found[name.upper()] = value
    return found


def host_trust(
    environ: Mapping[str, str],
    *,
    network: Network,
    hostname: str,
    certificates: Certificates = EVERYONES,
    rootfs: Sequence[str] = (),
    bundles: tuple[str, ...] = HOST_BUNDLES,
) -> Trust:
    """The CA bundle for programs inside and, with a network, the host's proxies.

    The bundle is the host's, or where only files were given that of the image in `rootfs`; the files' certificates come
    after. Raises UsageError (`ca-cert`).
    """
    env: dict[str, str] = {}
    files: dict[str, bytes] = {}
    content = bundle_of(environ, certificates, rootfs, bundles)
    if content:
        files[BUNDLE] = content
        env = dict.fromkeys(_BUNDLE_VARIABLES, BUNDLE)
        # uv has its own roots unless it is told to use the system's.
        env["UV_SYSTEM_CERTS"] = "1"
    if network == "host":
        env |= proxy_env(environ)
    return Trust(env=env, files=files | network_files(network, hostname))


def bundle_of(
    environ: Mapping[str, str], certificates: Certificates, rootfs: Sequence[str], bundles: tuple[str, ...]
) -> bytes:
    """What the bundle inside holds; nothing to leave the image's own in place."""
    found = host_bundle(environ, bundles) if certificates.host else None
    content = (_read(found, _LARGEST_BUNDLE) if found else None) or b""
    more = [*(_from_directories(environ, found) if certificates.host else ()), *certificates.each()]
    if more and not content:
        content = _image_bundle(rootfs)
    return b"\n".join([content.rstrip(b"\n"), *more]).lstrip(b"\n") if more else content


def _from_directories(environ: Mapping[str, str], bundle: str | None) -> Iterator[bytes]:
    """The host's certificates by SSL_CERT_DIR, as OpenSSL finds them; not those of which the bundle is made."""
    known = os.path.dirname(os.path.realpath(bundle)) if bundle else ""
    for directory in filter(None, environ.get("SSL_CERT_DIR", "").split(":")):
        if os.path.realpath(directory) == known or not os.path.isdir(directory):
            continue
        for name in sorted(filter(_HASHED.fullmatch, os.listdir(directory)))[:_MOST_CERTIFICATES]:
            content = _read(os.path.join(directory, name), _LARGEST_FILE)
            if content:
                yield content


def _image_bundle(rootfs: Sequence[str]) -> bytes:
    for directory in reversed(rootfs):
        with Root.open(directory) as root:
            for path in HOST_BUNDLES:
                try:
                    found = root.read(path.lstrip("/"), limit=_LARGEST_BUNDLE)
                except StoreError:
                    continue  # a link, or larger than any bundle: not one to build on
                if found:
                    return found
    return b""


def bench_trust(trust: Trust) -> Trust:
    """The same for a workbench: tools are pointed to a file that no package owns (EXT-14)."""
    if BUNDLE not in trust.files:
        return trust
    env = {name: BENCH_BUNDLE if value == BUNDLE else value for name, value in trust.env.items()}
    return Trust(env=env, files={**trust.files, BENCH_BUNDLE: trust.files[BUNDLE]})


def network_files(network: Network, hostname: str) -> dict[str, bytes]:
    """resolv.conf and hosts of this host; without a network, names of this machine only (NET-10)."""
    local = f"127.0.0.1 localhost {hostname}\n::1 localhost\n".encode()
    if network == "none":
        return {"/etc/resolv.conf": b"", "/etc/hosts": local}
    hosts = _read("/etc/hosts", _LARGEST_FILE) or b"127.0.0.1 localhost\n"
    if not re.search(rb"\s" + re.escape(hostname.encode()) + rb"(\s|$)", hosts):
        hosts = hosts.rstrip(b"\n") + f"\n127.0.0.1 {hostname}\n".encode()
    return {"/etc/resolv.conf": _read("/etc/resolv.conf", _LARGEST_FILE) or b"", "/etc/hosts": hosts}


def _read(path: str, limit: int) -> bytes | None:
    """The host's own file, through its links; None when it is not there, cannot be read, or is no such file."""
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError:
        return None
    return content if len(content) <= limit else None
