"""References as registries read them, and where layouts keep their images."""

from __future__ import annotations

import pytest

from packrunner.errors import UsageError
from packrunner.images.reference import Reference, same_image

HEX = "0" * 64


@pytest.mark.cnb("EXP-35")
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shop", "index.docker.io/library/shop/latest"),
        ("acme/shop:2", "index.docker.io/acme/shop/2"),
        ("docker.io/shop", "index.docker.io/library/shop/latest"),
        ("localhost:5000/a/b:x", "localhost:5000/a/b/x"),
        ("ghcr.io/a/b", "ghcr.io/a/b/latest"),
        (f"ghcr.io/a/b@sha256:{HEX}", f"ghcr.io/a/b/sha256/{HEX}"),
        (f"shop:1@sha256:{HEX}", f"index.docker.io/library/shop/sha256/{HEX}"),
    ],
)
def test_where_a_layout_is(text: str, path: str) -> None:
    assert Reference.parse(text).layout_path == path


@pytest.mark.cnb("RBS-03")
def test_what_is_the_same_image() -> None:
    assert same_image("x", f"index.docker.io/library/x:latest@sha256:{HEX}")
    assert not same_image("x:1", "x")
    assert same_image("no reference!", "no reference!")


@pytest.mark.parametrize("text", ["", "Shop", "a//b", "../x", "shop@sha256:1", "/abs"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)
