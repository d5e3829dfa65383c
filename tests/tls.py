"""Certificates for tests: an authority of our own, made with the openssl program, and servers that it vouches for."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = """
[ca]
default_ca = own
[own]
database = {directory}/index.txt
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: str
    key: str

    def server_context(self, *, clients: str | None = None) -> ssl.SSLContext:
        """For a server that shows it; `clients`: the authority of clients that it lets in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context


class Authority:
    """Signs certificates in a directory of its own."""

    def __init__(self, directory: Path, name: str = "Example Company Authority") -> None:
        if not shutil.which("openssl"):
            pytest.skip("the openssl program is not installed")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.cert, self.key = str(directory / "ca.pem"), str(directory / "ca.key")
        (directory / "index.txt").write_text("")
        (directory / "ca.conf").write_text(_CONFIG.format(directory=directory))
        self._openssl(
            *("req", "-x509", "-subj", f"/CN={name}", "-days", "3650", "-keyout", self.key, "-out", self.cert),
            *_NEW_KEY,
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def issue(
        self, *hosts: str, start: str = "20200101000000Z", end: str = "20991231000000Z", client: bool = False
    ) -> Pair:
        """A certificate for these names or addresses."""
        stem = str(self.directory / f"{len(os.listdir(self.directory))}-{hosts[0].replace(':', '-')}")
        names = ",".join(
            f"{'IP' if host.replace('.', '').isdigit() or ':' in host else 'DNS'}:{host}" for host in hosts
        )
        extensions = f"subjectAltName={names}\nextendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n"
        with open(f"{stem}.ext", "w", encoding="ascii") as file:
            file.write(extensions + "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        self._openssl("req", "-subj", f"/CN={hosts[0]}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr", *_NEW_KEY)
        self._openssl(
            *("ca", "-batch", "-notext", "-config", str(self.directory / "ca.conf"), "-cert", self.cert),
            *("-keyfile", self.key, "-in", f"{stem}.csr", "-out", f"{stem}.pem", "-extfile", f"{stem}.ext"),
            *("-startdate", start, "-enddate", end),
        )
        return Pair(f"{stem}.pem", f"{stem}.key")

    def _openssl(self, *words: str) -> None:
        ended = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
