"""What the packages' maintainer scripts would have done, found by comparing trees with real dpkg.

The tree is our own, unpacked a moment ago; what is written is new, never through a link, and only where nothing is
yet. Everything is a function of the packages, so two trees from one lock are equal.
"""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from packrunner.bases import accounts
from packrunner.bases.unpack import place_of
from packrunner.confined import Root
from packrunner.disk import disk_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.bases.unpack import Installed
    from packrunner.engines.base import User

_LOCAL = ("bin", "etc", "games", "include", "lib", "sbin", "share", "share/man", "src")
_DIRECTORIES = (
    *("boot", "dev", "etc", "etc/opt", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp"),
    *("usr", "usr/local", "var", "var/cache", "var/lib", "var/log", "var/opt", "var/spool", "var/tmp"),
    *(f"usr/local/{name}" for name in _LOCAL),
)
_MODES = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "run/lock": 0o1777, "var/mail": 0o775}

# update-alternatives would make these, in two steps; the link is made where its target exists.
_LZMA = ("", "cat", "cmp", "diff", "egrep", "fgrep", "grep", "less", "more")
_LINKS = (
    ("usr/bin/awk", "mawk"),
    ("usr/bin/nawk", "mawk"),
    ("usr/bin/cc", "gcc"),
    ("usr/bin/c++", "g++"),
    ("usr/bin/c89", "c89-gcc"),
    ("usr/bin/c99", "c99-gcc"),
    ("usr/bin/which", "which.debianutils"),
    ("usr/bin/pager", "more"),
    ("usr/lib/cpp", "../bin/cpp"),
    ("usr/sbin/rmt", "rmt-tar"),
    ("usr/bin/lzma", "xz"),
    ("usr/bin/unlzma", "unxz"),
    *((f"usr/bin/lz{name}", f"xz{name}") for name in _LZMA if name),
)
_COPIES = (
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/dot.profile", "root/.profile"),
    ("usr/share/readline/inputrc", "etc/inputrc"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
)
_TEXTS = {
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/networks": "default 0.0.0.0\nloopback 127.0.0.0\nlink-local 169.254.0.0\n",
    "etc/timezone": "Etc/UTC\n",
    # Targets to mount upon.
    "etc/environment": "",
    "etc/hostname": "",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}
_SHELLS = ("/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/bin/dash", "/usr/bin/dash")
_CERTIFICATES = "usr/share/ca-certificates/mozilla"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_INDEX_ONLY = frozenset({"filename", "size", "md5sum", "sha1", "sha256", "sha512", "description-md5"})


def fix_up(
    tree: str,
    installed: Sequence[Installed],
    *,
    user: User,
    newest: int,
    links: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, tuple[int, int]]:
    """Complete the tree; new files are dated `newest` (seconds). Returns who owns what is not root's.

    `links` are more links to make, by absolute paths, where nothing is yet and their targets are.
    """
    with Root.open(tree) as root:
        fixer = _Fixer(root)
        fixer.directories()
        fixer.accounts(user)
        fixer.certificates()
        fixer.links(links)
        fixer.files()
        fixer.package_database(installed)
        fixer.date(newest)
        owners = fixer.owners
    for one in installed:
        owners.update({os.fsdecode(name): owner for name, owner in one.owners.items()})
    return owners


class _Fixer:
    def __init__(self, root: Root) -> None:
        self.owners: dict[str, tuple[int, int]] = {}
        self._root = root
        self._made: list[str] = []

    def directories(self) -> None:
        for name in ("bin", "sbin", "lib", "lib64"):
            if self._root.kind(f"usr/{name}") == "dir":
                self._link(name, f"usr/{name}")
        for name in _DIRECTORIES:
            self._directory(name)
        # Packages ship directories here; their scripts then replace them.
        self._directory("run/lock")
        for name, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
            if self._root.kind(name) == "dir" and not self._root.names(name):
                self._root.remove(name)
            self._link(name, target)
        self._link("usr/local/man", "share/man")
        self._directory("var/mail")
        self.owners["var/mail"] = (0, 8)
        for minor in self._python_versions():
            self._directory(f"usr/local/lib/python{minor}")
            self._directory(f"usr/local/lib/python{minor}/dist-packages")

    def accounts(self, user: User) -> None:
        shell = "/bin/bash" if self._root.kind("usr/bin/bash") else "/usr/sbin/nologin"
        self._write("etc/passwd", accounts.passwd(user, shell).encode())
        self._write("etc/group", accounts.group(user).encode())
        for name, text in (("etc/shadow", accounts.shadow(user)), ("etc/gshadow", accounts.gshadow(user))):
            self._write(name, text.encode(), mode=0o640)
            self.owners[name] = accounts.SECRET_OWNER
        home = user.home.lstrip("/")
        # Only root can give it away here; the layer says whose it is in any case.
        owner = (user.uid, user.gid) if os.geteuid() == 0 else None
        self._root.makedirs(home, owner=owner)
        self.owners[home] = (user.uid, user.gid)

    def certificates(self) -> None:
        names = [entry.name for entry in self._root.names(_CERTIFICATES) if entry.name.endswith(".crt")]
        if not names:
            return
        contents = (self._root.read(f"{_CERTIFICATES}/{name}") or b"" for name in names)
        self._directory("etc/ssl")
        self._directory("etc/ssl/certs")
        self._write(_BUNDLE, b"".join(content.rstrip(b"\n") + b"\n" for content in contents))
        # These belong to the package openssl; without them libssl knows no authority where that is cut.
        for name, target in (
            ("cert.pem", f"/{_BUNDLE}"),
            ("certs", "/etc/ssl/certs"),
            ("openssl.cnf", "/etc/ssl/openssl.cnf"),
        ):
            self._link(f"usr/lib/ssl/{name}", target)

    def files(self) -> None:
        for link, target in _LINKS:
            directory = os.path.dirname(link)
            if self._root.kind(os.path.normpath(f"{directory}/{target}")):
                self._link(link, target)
        for source, name in _COPIES:
            content = self._root.read(source)
            if content is not None and (name != "root/.bashrc" or self._root.kind("usr/bin/bash")):
                self._write(name, content)
        for name, text in _TEXTS.items():
            self._write(name, text.encode())
        if self._root.kind("usr/share/zoneinfo/Etc/UTC"):
            self._link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
        shells = [shell for shell in _SHELLS if self._root.kind(f"usr/bin/{os.path.basename(shell)}")]
        if shells:
            self._write("etc/shells", "".join(f"{shell}\n" for shell in shells).encode())

    def links(self, wanted: Mapping[str, str]) -> None:
        for link, target in wanted.items():
            place = place_of(os.fsencode(link.lstrip("/")), is_link_or_file=True)
            there = place_of(os.fsencode(target.lstrip("/")), is_link_or_file=True)
            if place and there and self._root.kind(os.fsdecode(there)):
                self._link(os.fsdecode(place), target)

    def package_database(self, installed: Sequence[Installed]) -> None:
        """What scanners read to know which packages are inside: dpkg's status and file lists."""
        for name in ("var/lib/dpkg", "var/lib/dpkg/info"):
            self._directory(name)
        self._write("var/lib/dpkg/info/format", b"1\n")
        self._write("var/lib/dpkg/available", b"")
        stanzas = []
        for one in installed:
            control = one.control.get("control", b"").decode("utf-8", "replace")
            stanzas.append(_status(control))
            architecture = re.search(r"(?m)^Architecture: *(\S+)", control)
            same = re.search(r"(?mi)^Multi-Arch: *same *$", control)
            stem = f"{one.name}:{architecture[1]}" if same and architecture else one.name
            listing = b"".join(line + b"\n" for line in one.listing)
            self._write(f"var/lib/dpkg/info/{stem}.list", listing)
            sums = [line for line in one.control.get("md5sums", b"").splitlines() if _is_kept(line)]
            if sums:
                self._write(f"var/lib/dpkg/info/{stem}.md5sums", b"".join(line + b"\n" for line in sums))
        self._write("var/lib/dpkg/status", "".join(f"{stanza}\n\n" for stanza in stanzas).encode())

    def date(self, newest: int) -> None:
        for name in self._made:
            path = os.path.join(self._root.path, name)
            try:
                os.utime(path, (newest, newest), follow_symlinks=False)
            except OSError as error:
                raise disk_error(error, path) from error

    def _python_versions(self) -> list[str]:
        matches = (re.fullmatch(r"python(3\.\d+)", entry.name) for entry in self._root.names("usr/bin"))
        return [match[1] for match in matches if match]

    def _directory(self, name: str) -> None:
        """Make it where it is missing; a link to a directory is one."""
        if self._root.kind(name) is None:
            self._root.makedirs(name)
            if name in _MODES:
                os.chmod(os.path.join(self._root.path, name), _MODES[name])

    def _write(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        if self._root.kind(name) is None:
            self._root.write(name, content, mode=mode)
            self._made.append(name)

    def _link(self, name: str, target: str) -> None:
        if self._root.kind(name) is not None:
            return
        self._root.makedirs(os.path.dirname(name))
        path = os.path.join(self._root.path, name)
        try:
            os.symlink(target, path)
        except OSError as error:
            raise disk_error(error, path) from error
        self._made.append(name)


def _is_kept(line: bytes) -> bool:
    """Whether the file of this line of md5sums is in the tree."""
    return place_of(line[34:], is_link_or_file=True) is not None


def _status(control: str) -> str:
    """A package's own description as dpkg keeps it of installed ones."""
    lines: list[str] = []
    keep = True
    for line in control.strip("\n").splitlines():
        if not line.startswith((" ", "\t")):
            keep = line.partition(":")[0].lower() not in _INDEX_ONLY
        if keep:
            lines.append(line)
        if line.startswith("Package:"):
            lines.append("Status: install ok installed")
    return "\n".join(lines)
