"""What maintainer scripts would have done, in trees of a few files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from packrunner.bases.accounts import USER
from packrunner.bases.fixups import fix_up
from packrunner.bases.unpack import Installed

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root / "tree")


def fixed(root: Path, files: dict[str, str], *installed: Installed) -> Path:
    fix_up(tree(root, files), installed, user=USER, newest=1000)
    return root / "tree"


def test_accounts(tmp_path: Path) -> None:
    owners = fix_up(tree(tmp_path, {"usr/bin/bash": ""}), [], user=USER, newest=1000)
    etc = tmp_path / "tree/etc"
    passwd = {line.split(":")[0]: line.split(":") for line in (etc / "passwd").read_text().splitlines()}
    assert passwd["root"][2:] == ["0", "0", "root", "/root", "/bin/bash"]
    assert passwd["nobody"][2] == "65534"
    assert passwd["cnb"][2:] == ["1000", "1000", "cnb", "/home/cnb", "/bin/bash"]
    groups = dict(re.findall(r"(?m)^(\S+?):x:(\d+):$", (etc / "group").read_text()))
    assert all(fields[3] in groups.values() for fields in passwd.values())
    assert set(passwd) == {line.split(":")[0] for line in (etc / "shadow").read_text().splitlines()}
    assert all(line.split(":")[1] == "*" for line in (etc / "shadow").read_text().splitlines()), "nobody has a password"
    assert (etc / "shadow").stat().st_mode & 0o777 == 0o640
    assert (owners["etc/shadow"], owners["home/cnb"]) == ((0, 42), (1000, 1000))
    assert (tmp_path / "tree/home/cnb").is_dir()


def test_without_a_shell_nobody_has_one(tmp_path: Path) -> None:
    root = fixed(tmp_path, {"usr/share/x": ""})
    assert "root:x:0:0:root:/root:/usr/sbin/nologin" in (root / "etc/passwd").read_text()
    assert not (root / "etc/shells").exists()


def test_the_bundle_of_certificates(tmp_path: Path) -> None:
    place = "usr/share/ca-certificates/mozilla"
    root = fixed(
        tmp_path, {f"{place}/b.crt": "B", f"{place}/a.crt": "A\n", f"{place}/c.crt": "C\n\n", f"{place}/x": "no"}
    )
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text() == "A\nB\nC\n"
    assert os.readlink(root / "usr/lib/ssl/cert.pem") == "/etc/ssl/certs/ca-certificates.crt"
    assert os.readlink(root / "usr/lib/ssl/certs") == "/etc/ssl/certs"


def test_links_are_made_where_their_targets_are(tmp_path: Path) -> None:
    root = fixed(
        tmp_path,
        {
            "usr/bin/mawk": "",
            "usr/bin/gcc": "",
            "usr/bin/cpp": "",
            "usr/bin/which.debianutils": "",
            "usr/bin/cc": "own",
        },
    )
    assert os.readlink(root / "usr/bin/awk") == "mawk"
    assert os.readlink(root / "usr/bin/which") == "which.debianutils"
    assert os.path.realpath(root / "usr/lib/cpp") == str(root / "usr/bin/cpp")
    assert (root / "usr/bin/cc").read_text() == "own"
    assert not (root / "usr/bin/c++").is_symlink()


def test_directories_and_mount_targets(tmp_path: Path) -> None:
    files = {"usr/bin/python3.13": "", "var/run/.keep": "", "usr/lib64/ld": "", "usr/share/zoneinfo/Etc/UTC": ""}
    tree(tmp_path, files)
    (tmp_path / "tree/var/run/.keep").unlink()
    root = fixed(tmp_path, {})
    assert os.readlink(root / "var/run") == "/run"
    assert os.readlink(root / "var/lock") == "/run/lock"
    assert (root / "run/lock").stat().st_mode & 0o7777 == 0o1777
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert os.readlink(root / "lib64") == "usr/lib64"
    assert os.readlink(root / "etc/localtime") == "/usr/share/zoneinfo/Etc/UTC"
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id"):
        assert (root / name).read_bytes() == b""
    assert (root / "usr/local/lib/python3.13/dist-packages").is_dir()
    assert "localhost" in (root / "etc/hosts").read_text()


def test_what_packages_brought_is_kept(tmp_path: Path) -> None:
    files = {"etc/hosts": "own", "var/run/kept": "", "usr/share/libc-bin/nsswitch.conf": "of libc"}
    root = fixed(tmp_path, files)
    assert (root / "etc/hosts").read_text() == "own"
    assert (root / "var/run/kept").exists()
    assert (root / "etc/nsswitch.conf").read_text() == "of libc"


def test_the_package_database(tmp_path: Path) -> None:
    control = "Package: libx\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nSource: x (0.9)\nDescription: a\n b\n"
    sums = b"0" * 32 + b"  usr/lib/libx.so\n" + b"1" * 32 + b"  usr/share/doc/libx/changelog.gz\n"
    installed = Installed(
        name="libx",
        control={"control": control.encode(), "md5sums": sums},
        listing=[b"/.", b"/usr", b"/usr/lib"],
        owners={b"usr/sbin/x": (0, 42)},
    )
    owners = fix_up(tree(tmp_path, {"usr/lib/libx.so": ""}), [installed], user=USER, newest=1000)
    dpkg = tmp_path / "tree/var/lib/dpkg"
    status = (dpkg / "status").read_text()
    assert status.startswith("Package: libx\nStatus: install ok installed\nVersion: 1\n")
    assert "Source: x (0.9)" in status
    assert status.endswith(" b\n\n")
    assert (dpkg / "info/libx:amd64.list").read_text() == "/.\n/usr\n/usr/lib\n"
    assert (dpkg / "info/libx:amd64.md5sums").read_bytes() == sums.splitlines(keepends=True)[0]
    assert owners["usr/sbin/x"] == (0, 42)


@pytest.mark.fault("SBX-12")
def test_links_in_packages_lead_nowhere(tmp_path: Path) -> None:
    """A package may ship `etc/hosts` as a link to anywhere: nothing is written through it."""
    (tmp_path / "outside").write_text("sentinel")
    root = tree(tmp_path, {"usr/bin/x": ""})
    os.makedirs(f"{root}/etc")
    for name in ("hosts", "passwd", "resolv.conf"):
        os.symlink("../../outside", f"{root}/etc/{name}")
    fix_up(root, [], user=USER, newest=1000)
    assert (tmp_path / "outside").read_text() == "sentinel"
    assert os.path.islink(f"{root}/etc/hosts")


def test_times_are_those_of_the_packages(tmp_path: Path) -> None:
    root = fixed(tmp_path, {"usr/bin/mawk": ""})
    assert (root / "etc/passwd").stat().st_mtime == 1000
    assert os.lstat(root / "usr/bin/awk").st_mtime == 1000


def test_links_of_packages_go_before_the_usual_ones(tmp_path: Path) -> None:
    root = tree(tmp_path, {"usr/bin/more": "", "usr/bin/less": "", "usr/bin/own": ""})
    asked = {"/usr/bin/pager": "/usr/bin/less", "/usr/bin/own": "/usr/bin/less", "/usr/bin/none": "/usr/bin/gone"}
    fix_up(root, [], user=USER, newest=1000, links={**asked, "/bin/view": "/bin/more"})
    assert os.readlink(f"{root}/usr/bin/pager") == "/usr/bin/less"
    assert os.readlink(f"{root}/usr/bin/view") == "/bin/more"
    assert not os.path.islink(f"{root}/usr/bin/own")
    assert not os.path.lexists(f"{root}/usr/bin/none")
