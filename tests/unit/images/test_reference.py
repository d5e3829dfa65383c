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


HUB = "index.docker.io"


@pytest.mark.fault("REG-32")
@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("x", HUB, "library/x", "latest", ""),
        ("x/y", HUB, "x/y", "latest", ""),
        ("x/y/z:1.0_b-C", HUB, "x/y/z", "1.0_b-C", ""),
        ("docker.io/x", HUB, "library/x", "latest", ""),
        ("index.docker.io/x", HUB, "library/x", "latest", ""),
        ("localhost/x", "localhost", "x", "latest", ""),
        ("localhost:5000/x", "localhost:5000", "x", "latest", ""),
        ("localhost:5000", HUB, "library/localhost", "5000", ""),
        ("host:5000/x:7", "host:5000", "x", "7", ""),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest", ""),
        ("[2001:db8::1]/x:t", "[2001:db8::1]", "x", "t", ""),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", "latest", ""),
        ("Reg.Example:443/x", "reg.example:443", "x", "latest", ""),
        ("xn--bcher-kva.example/x", "xn--bcher-kva.example", "x", "latest", ""),
        (f"r.example/x:1@sha256:{HEX}", "r.example", "x", "1", f"sha256:{HEX}"),
        (f"r.example/x@sha256:{HEX}", "r.example", "x", "latest", f"sha256:{HEX}"),
        (f"r.example/{HEX}", "r.example", HEX, "latest", ""),
        (f"x:{'t' * 128}", HUB, "library/x", "t" * 128, ""),
        (f"r.example/{'a' * 255}", "r.example", "a" * 255, "latest", ""),
        ("a--b/c__d/e.f", HUB, "a--b/c__d/e.f", "latest", ""),
    ],
)
def test_references_of_the_grammar(text: str, registry: str, repository: str, tag: str, digest: str) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == (registry, repository, tag, digest)


@pytest.mark.fault("REG-32")
@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "x:",
        "x@",
        "X",
        "x/Y",
        "r.example/X",
        "x:.t",
        "x:-t",
        "x: t",
        "x:a:b",
        f"x:{'t' * 129}",
        f"x@sha256:{HEX[1:]}",
        f"x@sha256:{'A' * 64}",
        f"x@md5:{HEX[:32]}",
        f"x@sha256:{HEX}@sha256:{HEX}",
        HEX,
        "a..b",
        "a.-b",
        "a___b",
        "-a",
        "a-",
        "a//b",
        "/a",
        "a/",
        "../a",
        "r.example//a",
        "-r.example/a",
        "r-.example/a",
        "r..example/a",
        "r.example./a",
        "r.example:/a",
        "r.example:port/a",
        "[::1/a",
        "[::g]/a",
        "b\u00fccher.example/x",
        "r.example/\u00fc",
        "http://r.example/a",
        "user@r.example/a",
        "a b",
        "a\n",
        "x\0",
        f"r.example/{'a' * 256}",
    ],
)
def test_what_the_grammar_refuses(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)
    assert caught.value.slug == "name"
