"""A small Debian archive of our own: packages made byte by byte, lists, a signed Release; and a scripted server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import lzma
import os
import threading
import time
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pysequoia

from packrunner.bases.recipes import RECIPES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

NOW = 1_790_000_000.0


def header(
    name: bytes,
    *,
    kind: bytes = b"0",
    size: int = 0,
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
    target: bytes = b"",
    mtime: int = 1_700_000_000,
    magic: bytes = b"ustar\x0000",
    size_field: bytes | None = None,
    checksum: int | None = None,
) -> bytes:
    """One tar header, as wrong as the test wants it."""
    size_text = b"%011o\0" % size if size_field is None else size_field
    before = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0" % (mode, *owner) + size_text + b"%011o\0" % mtime
    after = kind + target.ljust(100, b"\0") + magic + bytes(64) + bytes(16) + bytes(167)
    total = sum(before) + sum(after) + 8 * 32 if checksum is None else checksum
    return before + b"%06o\0 " % total + after


def entry(name: str | bytes, content: bytes = b"", **fields: Any) -> bytes:
    """A header and its padded content."""
    raw = name.encode() if isinstance(name, str) else name
    return header(raw, size=len(content), **fields) + content + bytes(-len(content) % 512)


def directory(name: str, mode: int = 0o755, **fields: Any) -> bytes:
    return entry(name.rstrip("/") + "/", kind=b"5", mode=mode, **fields)


def link(name: str, target: str, kind: bytes = b"2") -> bytes:
    return entry(name, kind=kind, target=target.encode(), mode=0o777)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(1024)


def ar(*members: tuple[bytes, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name, 0, 0, 0, 0o100644, len(content)))
        parts.append(content + b"\n" * (len(content) % 2))
    return b"".join(parts)


def control(name: str, version: str = "1", **fields: str) -> bytes:
    lines = [f"Package: {name}", f"Version: {version}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in ({"Architecture": "amd64"} | fields).items()]
    return ("\n".join(lines) + "\n").encode()


def deb(control_text: bytes, *entries: bytes, md5sums: bytes = b"", postinst: bytes = b"") -> bytes:
    """A whole .deb."""
    more = (("./md5sums", md5sums), ("./postinst", postinst))
    controls = [entry("./control", control_text), *(entry(name, text) for name, text in more if text)]
    return ar(
        (b"debian-binary", b"2.0\n"),
        (b"control.tar.xz", lzma.compress(tar(*controls), preset=0)),
        (b"data.tar.xz", lzma.compress(tar(directory("./"), *entries), preset=0)),
    )


@functools.cache
def key() -> Any:
    """A signing key; making one takes some milliseconds, so all tests share it."""
    return pysequoia.Tsk.generate(user_id="Archive of a test <archive@example.org>")


def sign(text: bytes, signer: Any = None) -> bytes:
    signed: bytes = pysequoia.sign((signer or key()).signer(), text, mode=pysequoia.SignatureMode.CLEAR)
    return signed


def write_keyring(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "test.asc"), "w", encoding="ascii") as file:
        file.write(str(key().extract_certificate()))
    return path


def release_text(
    suite: str, files: Mapping[str, bytes], *, date: float = NOW, until: float | None = None, origin: str = "Debian"
) -> bytes:
    lines = [f"Origin: {origin}", f"Codename: {suite}", f"Date: {_date(date)}", "Acquire-By-Hash: yes"]
    if until is not None:
        lines.append(f"Valid-Until: {_date(until)}")
    lines.append("SHA256:")
    lines += [f" {hashlib.sha256(data).hexdigest()} {len(data):8d} {path}" for path, data in files.items()]
    return ("\n".join(lines) + "\n").encode()


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def simple_packages() -> dict[str, bytes]:
    """A package of every name that a recipe asks for, each with one program and a copyright file."""
    names = {text.split(" | ")[0] for recipe in RECIPES.values() for text in recipe.packages}
    packages: dict[str, bytes] = {}
    for name in sorted(names):
        entries = [
            *(directory(path) for path in ("./usr", "./usr/bin", "./usr/share", "./usr/share/doc")),
            directory(f"./usr/share/doc/{name}"),
            entry(f"./usr/bin/the-{name}", f"program of {name}\n".encode(), mode=0o755),
            entry(f"./usr/share/doc/{name}/copyright", b"free\n"),
            entry(f"./usr/share/doc/{name}/changelog.gz", b"left out\n"),
        ]
        packages[name] = deb(control(name), *entries)
    return packages


@dataclass
class DebianArchive:
    """Files of an archive by path, as a mirror has them."""

    packages: dict[str, bytes] = field(default_factory=simple_packages)
    date: float = NOW
    suites: tuple[str, ...] = ("trixie", "trixie-updates")
    architecture: str = "amd64"
    extra: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        stanzas = []
        for name, data in self.packages.items():
            path = f"pool/main/{name[0]}/{name}/{name}_1_{self.architecture}.deb"
            found[path] = data
            facts = f"Filename: {path}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
            stanzas.append(control(name, self.versions.get(name, "1")).decode() + self.extra.get(name, "") + facts)
        for suite in self.suites:
            text = "\n".join(stanzas if "-" not in suite else []).encode()
            index = lzma.compress(text, preset=0)
            listed = {f"main/binary-{self.architecture}/Packages.xz": index}
            folder = f"dists/{suite}"
            found[f"{folder}/InRelease"] = sign(release_text(suite, listed, date=self.date))
            digest = hashlib.sha256(index).hexdigest()
            found[f"{folder}/main/binary-{self.architecture}/by-hash/SHA256/{digest}"] = index
        return found

    def write(self, root: str) -> str:
        """Put it on the disk; returns the address for the setting debian-mirror."""
        for path, data in self.files().items():
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(data)
        return f"file://{root}"


@dataclass(frozen=True)
class Answer:
    """One step of a scripted server: cut the body after `cut` bytes, or wait `stall` seconds before them."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    stall: float = 0.0
    ranges: bool = True


@dataclass
class Server:
    """Answers on a port of this machine; `scripts` has a path's next answers, after which the plain file is served."""

    files: Mapping[str, bytes]
    port: int = 0
    scripts: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, path: str, *answers: Answer) -> None:
        self.scripts[path] = list(answers)


@contextmanager
def serving(files: Mapping[str, bytes], *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server of these files; with `tls` it speaks nothing else, whatever its `url` says."""
    server = Server(files)
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            path = urllib.parse.unquote(self.path.lstrip("/"))
            steps = server.scripts.get(path)
            answer = steps.pop(0) if steps else Answer(status=200 if path in files else 404)
            self._send(answer, files.get(path, b""))

        def _send(self, answer: Answer, content: bytes) -> None:
            status, body = answer.status, content if answer.body is None else answer.body
            asked = self.headers.get("Range")
            begin = 0
            if asked and answer.ranges and status == 200:
                begin = int(asked.removeprefix("bytes=").rstrip("-"))
                status = 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            body = body[begin:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            done.wait(answer.stall)
            self.wfile.write(body if answer.cut is None else body[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            return

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is part of the tests."""

    http_server = Quiet(("127.0.0.1", 0), Handler)
    server.port = http_server.server_address[1]
    if tls:
        http_server.socket = tls.wrap_socket(http_server.socket, server_side=True)
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        http_server.shutdown()
        http_server.server_close()
        thread.join()


class Slept:
    """A `sleep` that only remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once the condition holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def tree_table(root: str) -> dict[str, tuple[int, str, int]]:
    """Every entry of a tree: mode, content or target, time."""
    table: dict[str, tuple[int, str, int]] = {}
    for place, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(place, name)
            found = os.lstat(path)
            content = ""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            table[os.path.relpath(path, root)] = (found.st_mode, content, int(found.st_mtime))
    return table
