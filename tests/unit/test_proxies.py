"""Which proxy a connection goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.proxies import Proxies

if TYPE_CHECKING:
    from pathlib import Path

CONF = """// comment "with; quotes"
Acquire::http::Proxy "http://apt.example:3142/";
Acquire { https { Proxy "DIRECT"; }; http::Proxy { direct.example "DIRECT"; } /* x */ };
# Acquire::http::Proxy "http://wrong.example";
"""


def apt(root: Path, text: str, name: str = "50proxy") -> str:
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    (root / "etc/apt/apt.conf.d" / name).write_text(text)
    return str(root)


def test_apt_settings_come_before_the_environment(tmp_path: Path) -> None:
    proxies = Proxies.find({"http_proxy": "http://env.example:1"}, root=apt(tmp_path, CONF))
    assert proxies.of("http", "mirror.example", 80) == "http://apt.example:3142/"
    assert proxies.of("http", "direct.example", 80) is None
    assert proxies.of("https", "mirror.example", 443) is None


def test_https_follows_the_setting_for_http(tmp_path: Path) -> None:
    proxies = Proxies.find({}, root=apt(tmp_path, 'Acquire::HTTP::Proxy "apt.example:3142";'))
    assert proxies.of("https", "mirror.example", 443) == "http://apt.example:3142"


def test_backup_files_are_not_read(tmp_path: Path) -> None:
    proxies = Proxies.find({}, root=apt(tmp_path, CONF, name="50proxy.dpkg-old"))
    assert proxies.of("http", "mirror.example", 80) is None


def test_the_environment(tmp_path: Path) -> None:
    environ = {"HTTP_PROXY": "http://a:1", "https_proxy": "b:2", "ALL_PROXY": "http://c:3"}
    proxies = Proxies.find(environ, root=str(tmp_path))
    assert [proxies.of(scheme, "x.example", 1) for scheme in ("http", "https")] == ["http://a:1", "http://b:2"]
    assert Proxies.find({"ALL_PROXY": "http://c:3"}, root=str(tmp_path)).of("https", "x", 1) == "http://c:3"


@pytest.mark.fault("NET-05")
@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("mirror.example", "mirror.example", 80, True),
        ("example", "mirror.example", 80, True),
        (".example", "mirror.example", 80, True),
        ("*.example", "mirror.example", 80, True),
        ("ample", "mirror.example", 80, False),
        ("mirror.example:8080", "mirror.example", 80, False),
        ("mirror.example:8080", "mirror.example", 8080, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("[::1]", "::1", 80, True),
        ("*", "anything", 80, True),
        (" a , mirror.example ,", "mirror.example", 80, True),
        ("10.0.0.0/99,:::,/,[", "mirror.example", 80, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, direct: bool) -> None:
    proxies = Proxies(apt={}, environ={"http_proxy": "http://p:1", "no_proxy": no_proxy})
    assert (proxies.of("http", host, port) is None) is direct
