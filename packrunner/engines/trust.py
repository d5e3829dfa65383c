"""What the host trusts, and how it reaches the network, told to the programs in a sandbox.

The bundle and the resolver's files lie in the topmost layer of the sandbox's own root, so no image ever holds
them; the variables go into the environment of buildpacks only.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.engines.base import Network

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where the bundle is inside; the place that Debian's libraries read without being told."""

HOST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine without the package
)

# Each tool reads another one: pip, uv, curl, git, openssl and Python's ssl, Node.
_BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
BENCH_BUNDLE = "/run/packrunner/ca-certificates.crt"
"""A second copy on workbenches, whose commands may make the first one anew."""

_LARGEST_BUNDLE = 16 << 20
_LARGEST_FILE = 1 << 20


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """`env`: variables for programs inside. `files`: absolute paths inside and what they hold."""

    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)


def host_bundle(environ: Mapping[str, str], candidates: tuple[str, ...] = HOST_BUNDLES) -> str | None:
    """The path of the host's CA bundle: SSL_CERT_FILE, else the first well-known one that can be read."""
    named = environ.get("SSL_CERT_FILE", "")
    for path in (named, *candidates) if named else candidates:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            return path
    return None


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
    bundles: tuple[str, ...] = HOST_BUNDLES,
) -> Trust:
    """The host's CA bundle and, with a network, its proxies."""
    env: dict[str, str] = {}
    files: dict[str, bytes] = {}
    bundle = host_bundle(environ, bundles)
    content = _read(bundle, _LARGEST_BUNDLE) if bundle else None
    if content:
        files[BUNDLE] = content
        env = dict.fromkeys(_BUNDLE_VARIABLES, BUNDLE)
        # uv has its own roots unless it is told to use the system's.
        env["UV_SYSTEM_CERTS"] = "1"
    if network == "host":
        env |= proxy_env(environ)
    return Trust(env=env, files=files | network_files(network, hostname))


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
