"""Where packages come from: the setting, or the entries of apt that are Debian's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.bases.apt_sources import find_archives
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MAIN, SECURITY = "http://mirror.example/debian", "http://mirror.example/debian-security"


def machine(root: Path, *, system: str = "debian", **files: str) -> str:
    """A root directory with an os-release and apt's files; `__` in a name is a dot, `sources_list` is the old file."""
    (root / "etc/apt/sources.list.d").mkdir(parents=True)
    (root / "etc/os-release").write_text(f'NAME="x"\nID={system}\n')
    for name, text in files.items():
        path = "sources.list" if name == "sources_list" else f"sources.list.d/{name.replace('__', '.')}"
        (root / "etc/apt" / path).write_text(text)
    return str(root)


def test_deb822_entries_are_followed(tmp_path: Path) -> None:
    text = f"""# a comment
Types: deb deb-src
URIs: {MAIN}/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main
"""
    found = find_archives(None, root=machine(tmp_path, debian__sources=text))
    assert (found.main, found.security) == ((MAIN,), (SECURITY,))


def test_one_line_entries_are_followed(tmp_path: Path) -> None:
    options = "[arch=amd64 signed-by=/etc/debian-archive-x.asc]"
    text = f"deb {options} {MAIN} stable main # x\ndeb {SECURITY} buster/updates main\n"
    found = find_archives(None, root=machine(tmp_path, sources_list=text, other__list="deb cdrom:[x]/ trixie main\n"))
    assert (found.main, found.security) == ((MAIN,), (SECURITY,))


def test_security_beside_main_is_tried_when_none_is_named(tmp_path: Path) -> None:
    found = find_archives(None, root=machine(tmp_path, sources_list=f"deb {MAIN} trixie main\n"))
    assert found.security == (SECURITY,)


@pytest.mark.parametrize(
    "entry",
    [
        "deb http://vendor.example/linux/debian bookworm stable",
        "deb [signed-by=/etc/apt/keyrings/vendor.asc] http://vendor.example/debian bookworm main",
        "deb http://vendor.example/apt bookworm-vendor main",
        "deb http://vendor.example/node nodistro main",
        "deb-src http://mirror.example/debian trixie main",
        "# deb http://mirror.example/debian trixie main",
        "deb ftp://mirror.example/debian trixie main",
    ],
)
def test_other_vendors_are_not_debian(tmp_path: Path, entry: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_archives(None, root=machine(tmp_path, sources_list=f"{entry}\n"))
    assert caught.value.slug == "debian-mirror"
    assert "PACKRUNNER_DEBIAN_MIRROR" in caught.value.tries[0]


def test_a_disabled_stanza_is_not_followed(tmp_path: Path) -> None:
    text = f"Types: deb\nURIs: {MAIN}\nSuites: trixie\nComponents: main\nEnabled: no\n"
    with pytest.raises(UsageError):
        find_archives(None, root=machine(tmp_path, x__sources=text))


@pytest.mark.parametrize("system", ["ubuntu", "fedora", "linuxmint"])
def test_only_debian_itself_is_followed(tmp_path: Path, system: str) -> None:
    with pytest.raises(UsageError, match="where to get Debian packages"):
        find_archives(None, root=machine(tmp_path, system=system, sources_list=f"deb {MAIN} trixie main\n"))


def test_the_setting_comes_first(tmp_path: Path) -> None:
    root = machine(tmp_path, sources_list=f"deb {MAIN} trixie main\n")
    one = find_archives("https://other.example/debian/", root=root)
    assert (one.main, one.security) == (("https://other.example/debian",), ("https://other.example/debian-security",))
    two = find_archives("https://a.example/d https://b.example/s", root=root)
    assert (two.main, two.security) == (("https://a.example/d",), ("https://b.example/s",))
    assert find_archives("https://a.example/d", root=root).security == ()


@pytest.mark.parametrize("setting", ["mirror.example/debian", "ftp://x/debian", "http://a http://b http://c"])
def test_a_setting_that_cannot_be(tmp_path: Path, setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_archives(setting, root=str(tmp_path))
    assert caught.value.slug == "debian-mirror"
