"""Which Docker engine there is, and speaking with it through the docker SDK; its failures as ours (NET-11).

The engine is named by `--docker-host`, DOCKER_HOST, the docker command's current context, or else is at one of the
sockets that Docker, Docker Desktop and Podman make. `ssh://` is reached by the ssh command, which forwards the remote
socket to one of ours as long as it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from packrunner import process
from packrunner.errors import EngineError, UsageError, chain, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT = 60.0
"""How long the engine may take for an answer, in seconds. Streams that are open have no limit."""

_SSH_LIMIT = 30.0
_SYSTEM = "/var/run/docker.sock"


class DockerHost(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine is, and who said so; `certificates` is a directory with ca.pem, cert.pem and key.pem."""

    url: str
    origin: str
    certificates: str = ""
    verify: bool = True


def find_host(environ: Mapping[str, str], flag: str = "") -> DockerHost:
    """The engine that is meant. Raises UsageError (`docker-context`) for a context that cannot be read."""
    if flag:
        return _from_environ(flag, "--docker-host", environ)
    if environ.get("DOCKER_HOST"):
        return _from_environ(environ["DOCKER_HOST"], "DOCKER_HOST", environ)
    found = _context(environ)
    if found:
        return found
    paths = sockets(environ)
    return DockerHost(url=f"unix://{next(filter(os.path.exists, paths), paths[0])}", origin="the usual places")


def sockets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where engines have their sockets: Docker's own, rootless ones, Docker Desktop's, Podman's."""
    runtime, home = environ.get("XDG_RUNTIME_DIR", ""), environ.get("HOME", "")
    return (
        _SYSTEM,
        *((f"{runtime}/docker.sock",) if runtime else ()),
        *((f"{home}/.docker/run/docker.sock", f"{home}/.docker/desktop/docker.sock") if home else ()),
        *((f"{runtime}/podman/podman.sock",) if runtime else ()),
        "/run/podman/podman.sock",
    )


def _from_environ(url: str, origin: str, environ: Mapping[str, str]) -> DockerHost:
    if "://" not in url:
        url = f"unix://{url}" if url.startswith("/") else f"tcp://{url}"
    tls = bool(environ.get("DOCKER_TLS_VERIFY")) or bool(environ.get("DOCKER_TLS"))
    if not url.startswith("tcp://") or not tls:
        return DockerHost(url=url, origin=origin)
    certificates = environ.get("DOCKER_CERT_PATH") or _config_dir(environ)
    return DockerHost(url=url, origin=origin, certificates=certificates, verify=bool(environ.get("DOCKER_TLS_VERIFY")))


def _config_dir(environ: Mapping[str, str]) -> str:
    return environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")


def _context(environ: Mapping[str, str]) -> DockerHost | None:
    """The host of the docker command's current context; None for its default one."""
    folder = _config_dir(environ)
    name = environ.get("DOCKER_CONTEXT") or _read(os.path.join(folder, "config.json")).get("currentContext", "")
    if not isinstance(name, str) or name in {"", "default"}:
        return None
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = _read(os.path.join(folder, "contexts", "meta", key, "meta.json"))
    endpoint = meta.get("Endpoints", {}).get("docker", {}) if isinstance(meta.get("Endpoints"), dict) else {}
    url = endpoint.get("Host") if isinstance(endpoint, dict) else None
    if not isinstance(url, str) or not url:
        raise UsageError(
            f"Docker's context {name!r} cannot be read",
            slug="docker-context",
            at=os.path.join(folder, "contexts", "meta", key),
            tries=("docker context ls", "docker context use default", "packrunner build --docker-host unix:///path"),
        )
    certificates = os.path.join(folder, "contexts", "tls", key, "docker")
    return DockerHost(
        url=url,
        origin=f"Docker's context {name}",
        certificates=certificates if os.path.isdir(certificates) else "",
        verify=not endpoint.get("SkipTLSVerify", False),
    )


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class Dockerd:
    """A connection to one engine; made at the first use of `api`, ended by `close`.

    Raises EngineError: `docker-missing`, `docker-denied`, `docker-tls`, `docker-ssh`, `docker-unreachable`,
    `docker-api`.
    """

    def __init__(self, host: DockerHost) -> None:
        self.host = host
        self._resources = ExitStack()
        self._api: Any = None

    @property
    def api(self) -> Any:
        """The SDK's low-level client; use it inside `translated`."""
        if self._api is None:
            self.check()
            with self.translated():
                self._api = self._connect()
        return self._api

    @property
    def is_local(self) -> bool:
        """Whether its socket is one of this machine's; an engine in a virtual machine behind it cannot be told."""
        return self.host.url.startswith("unix://")

    @property
    def about(self) -> str:
        """Its name and version for people: `Docker 27.3.1`."""
        with self.translated():
            found: dict[str, Any] = self.api.version()
        names = [str(part.get("Name", "")) for part in found.get("Components") or ()]
        product = "Podman" if any("Podman" in name for name in names) else "Docker"
        return f"{product} {found.get('Version', '')}".strip()

    def check(self) -> None:
        """See that an engine of this machine still listens; the SDK would leave a socket open where none does."""
        if self.is_local:
            reach(self.host.url.removeprefix("unix://"))

    def close(self) -> None:
        """End the connection; a later use makes another one."""
        if self._api is not None:
            self._api.close()
            self._api = None
        self._resources.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the SDK raises inside, as EngineError."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        try:
            yield
        except APIError as e:
            raise EngineError(
                "the Docker engine refused",
                slug="docker-api",
                cause=str(e.explanation or e)[:2000],
                at=self.host.url,
            ) from e
        except (DockerException, RequestException) as e:
            raise self._unreachable(e) from e

    def _connect(self) -> Any:
        from docker.api import APIClient
        from docker.tls import TLSConfig

        url, tls = self.host.url, None
        if url.startswith("ssh://"):
            url = f"unix://{self._resources.enter_context(_forwarded(url))}"
        if self.host.certificates:
            folder = self.host.certificates
            certificate = (os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
            authority = os.path.join(folder, "ca.pem")
            tls = TLSConfig(
                client_cert=certificate if os.path.exists(certificate[0]) else None,
                ca_cert=authority if os.path.exists(authority) else None,
                verify=self.host.verify,
            )
        return APIClient(base_url=url, version="auto", timeout=TIMEOUT, tls=tls or False)

    def _unreachable(self, error: Exception) -> EngineError:
        url = self.host.url
        if url.startswith("unix://"):
            return socket_error(url.removeprefix("unix://"), error)
        text = str(error)
        if "SSL" in text or "TLS" in text or "certificate" in text.lower():
            return EngineError(
                "the Docker engine's TLS connection failed",
                slug="docker-tls",
                cause=innermost(error),
                at=url,
                tries=(
                    "DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH=DIR with ca.pem, cert.pem and key.pem",
                    f"docker --host {url} version",
                ),
            )
        return EngineError(
            "the Docker engine cannot be reached",
            slug="docker-unreachable",
            cause=innermost(error),
            at=f"{url}, from {self.host.origin}",
            tries=(f"docker --host {url} version", "packrunner build --engine sandbox, which needs no engine"),
        )


def reach(path: str) -> None:
    """See that somebody listens on a socket, which needs no SDK. Raises EngineError."""
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(path)
    except OSError as e:
        raise socket_error(path, e) from e


def socket_error(path: str, error: Exception) -> EngineError:
    """Why an engine's socket of this machine could not be used (NET-11)."""
    other = "packrunner build --engine sandbox, which needs no engine"
    if not os.path.exists(path):
        return EngineError(
            "there is no Docker engine here",
            slug="docker-missing",
            cause=f"no socket at {path}",
            at=path,
            tries=("start Docker, or for Podman: systemctl --user start podman.socket", other),
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return EngineError(
            "the Docker engine's socket is not for you",
            slug="docker-denied",
            cause="it belongs to root and a group that you are not in",
            at=path,
            tries=("sudo usermod --append --groups docker $USER, then sign in again (this is root's right)", other),
        )
    return EngineError(
        "the Docker engine does not answer",
        slug="docker-unreachable",
        cause=innermost(error),
        at=path,
        tries=("systemctl status docker", other),
    )


def innermost(error: BaseException) -> str:
    """The first cause of an error, which tells most."""
    *_, first = chain(error)
    return in_words(first)[:500]


@contextmanager
def _forwarded(url: str) -> Iterator[str]:
    """The path of a socket that leads to the engine of `ssh://[user@]host[:port][/path/of/its/socket]`."""
    parts = urlsplit(url)
    if not parts.hostname or parts.password or parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
        raise EngineError(
            f"{parts.scheme}:// with what follows it names no host for ssh",
            slug="docker-ssh",
            tries=("ssh://user@host, without a password: ssh has keys and asks by itself",),
        )
    with tempfile.TemporaryDirectory(prefix="packrunner-ssh-") as folder:
        ours = os.path.join(folder, "docker.sock")
        words = ["ssh", "-nNT", "-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=15"]
        words += ["-o", "StreamLocalBindMask=0177", "-L", f"{ours}:{parts.path.rstrip('/') or _SYSTEM}"]
        words += ["-p", str(parts.port)] if parts.port else []
        words += ["-l", parts.username] if parts.username else []
        words += ["--", parts.hostname]
        with open(os.path.join(folder, "said"), "w+b") as said:
            try:
                child = process.begin(lambda: subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True))
            except OSError as e:
                raise _ssh_error(url, f"ssh: {e.strerror}") from e
            try:
                _await(ours, child, lambda: _ssh_error(url, _said(said.fileno())))
                yield ours
            finally:
                child.terminate()
                child.wait()


def _await(path: str, child: subprocess.Popen[bytes], error: Any) -> None:
    deadline = time.monotonic() + _SSH_LIMIT
    while not os.path.exists(path):
        if child.poll() is not None or time.monotonic() > deadline:
            raise error()
        time.sleep(0.02)


def _said(fd: int) -> str:
    return os.pread(fd, 2000, 0).decode(errors="replace").strip()


def _ssh_error(url: str, said: str) -> EngineError:
    host = urlsplit(url).hostname or ""
    return EngineError(
        f"the Docker engine of {host} cannot be reached through ssh",
        slug="docker-ssh",
        cause=said.splitlines()[-1] if said else "ssh ended without a word",
        at=url,
        tries=(f"ssh {host} docker version", "ssh-add, where the key has a passphrase"),
        foreign=tuple(said.splitlines()[:20]),
    )
