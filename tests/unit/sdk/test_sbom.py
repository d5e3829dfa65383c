"""Bills of materials: what CycloneDX 1.6 and SPDX 2.3 demand, and the same bytes for the same components."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.sdk.sbom import Component, cyclonedx, purl, spdx
from tests.unit.sdk.programs import building

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOOL = Component(
    "a tool",
    "1.0+2",
    kind="application",
    purl=purl("npm", "tool", "1.0+2", namespace="@scope"),
    license="MIT OR Apache-2.0",
    sha256="AB" * 32,
    url="https://me:secret@example.org/t.tgz",
    cpe="cpe:2.3:a:x:tool:1.0:*:*:*:*:*:*:*",
)
BARE = Component("ba/re")
URN = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
BOTH = pytest.mark.parametrize("write", [cyclonedx, spdx])


@pytest.mark.parametrize(
    ("parts", "qualifiers", "expected"),
    [
        (("npm", "esbuild", "0.28.2"), {}, "pkg:npm/esbuild@0.28.2"),
        (("npm", "core", "7.0.0"), {"namespace": "@babel"}, "pkg:npm/%40babel/core@7.0.0"),
        (("PyPI", "Typing_Extensions", "4"), {}, "pkg:pypi/typing-extensions@4"),
        (("golang", "net", ""), {"namespace": "golang.org/x"}, "pkg:golang/golang.org/x/net"),
        (("generic", "a b", "1+2"), {"os": "linux", "arch": "amd64"}, "pkg:generic/a%20b@1%2B2?arch=amd64&os=linux"),
    ],
)
def test_package_urls(parts: tuple[str, str, str], qualifiers: dict[str, str], expected: str) -> None:
    assert purl(*parts, **qualifiers) == expected


def test_cyclonedx_has_what_it_demands() -> None:
    found = json.loads(cyclonedx([TOOL, BARE], subject="layer"))
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    assert URN.fullmatch(found["serialNumber"])
    bare, tool = found["components"][1], found["components"][0]
    assert bare == {"type": "library", "bom-ref": "ba/re@", "name": "ba/re"}
    assert (tool["type"], tool["name"], tool["version"]) == ("application", "a tool", "1.0+2")
    assert tool["purl"] == tool["bom-ref"] == "pkg:npm/%40scope/tool@1.0%2B2"
    assert tool["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert tool["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert found["metadata"]["component"]["name"] == "layer"


def test_spdx_has_what_it_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    found = json.loads(spdx([TOOL, BARE], subject="layer"))
    assert (found["spdxVersion"], found["dataLicense"], found["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert found["name"] == "layer"
    assert URN.fullmatch(found["documentNamespace"])
    assert found["creationInfo"] == {"created": "1980-01-01T00:00:01Z", "creators": ["Tool: packrunner.sdk"]}
    demanded = {"name", "SPDXID", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"}
    for package in found["packages"]:
        assert demanded <= package.keys()
        assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", package["SPDXID"])
    tool, bare = found["packages"]
    assert bare["downloadLocation"] == bare["licenseDeclared"] == "NOASSERTION"
    assert tool["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert [one["referenceType"] for one in tool["externalRefs"]] == ["purl", "cpe23Type"]
    described = {one["relatedSpdxElement"] for one in found["relationships"]}
    assert described == {one["SPDXID"] for one in found["packages"]}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert json.loads(spdx([TOOL], subject="x"))["creationInfo"]["created"] == "1970-01-01T00:00:00Z"


@BOTH
def test_the_same_components_make_the_same_bytes(write: Callable[..., bytes]) -> None:
    assert write([TOOL, BARE], subject="x") == write([BARE, TOOL, Component("ba/re")], subject="x")
    assert write([TOOL], subject="x") != write([BARE], subject="x")


@BOTH
def test_names_are_unique_in_a_document(write: Callable[..., bytes]) -> None:
    found: dict[str, Any] = json.loads(write([Component("x", "1"), Component("x", "1", license="MIT")], subject="x@1"))
    key, listed = ("bom-ref", "components") if "components" in found else ("SPDXID", "packages")
    assert len({one[key] for one in found[listed]}) == 2


@BOTH
def test_a_login_in_an_address_is_left_out(write: Callable[..., bytes]) -> None:
    text = write([TOOL], subject="x")
    assert b"https://example.org/t.tgz" in text
    assert b"secret" not in text


COMPONENTS = """
from packrunner.sdk.sbom import Component
layer = c.layer('tool', launch=True)
layer.clear()
layer.components(Component('x', '1'))
c.components('launch', Component('y'))
c.components('build')
"""


@pytest.mark.cnb("BLD-26")
@pytest.mark.parametrize(
    ("listed", "forms"),
    [
        ("application/vnd.cyclonedx+json", ["cdx"]),
        ("application/spdx+json", ["spdx"]),
        ('application/spdx+json", "application/vnd.syft+json", "application/vnd.cyclonedx+json', ["cdx", "spdx"]),
    ],
)
def test_a_buildpack_writes_the_formats_that_it_lists(tmp_path: Path, listed: str, forms: list[str]) -> None:
    made = building(tmp_path, COMPONENTS, more=f'name = "Own"\nsbom-formats = ["{listed}"]')
    ran = made.build()
    assert ran.code == 0, ran.output
    names = [f"{scope}.sbom.{form}.json" for scope in ("build", "launch", "tool") for form in forms]
    assert sorted(path.name for path in made.layers.glob("*.json")) == names
    assert '"Own"' in (made.layers / f"launch.sbom.{forms[0]}.json").read_text()


def test_a_buildpack_that_lists_none_is_told(tmp_path: Path) -> None:
    made = building(tmp_path, COMPONENTS)
    assert made.build().code == 1
    assert made.failure["at"] == "buildpack.toml"
    assert "application/vnd.cyclonedx+json" in made.failure["try"][0]
