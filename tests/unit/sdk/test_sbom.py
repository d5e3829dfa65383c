"""Bills of materials: what CycloneDX 1.6 and SPDX 2.3 demand, and the same bytes for the same components."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from packrunner.sdk.sbom import Component, cyclonedx, purl, spdx
from tests.unit.sdk.programs import building

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packrunner.sdk.sbom import Kind

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
KINDS: tuple[Kind, ...] = ("application", "framework", "library", "platform", "file", "data")
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


def table(required: str, **more: dict[str, Any]) -> dict[str, Any]:
    """An object that has the required fields, and besides them only what is named: both formats forbid all else."""
    properties: dict[str, Any] = {**{name: {} for name in required.split()}, **more}
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


def several(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


def text(pattern: str = "^.+$") -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


def one_of(words: str) -> dict[str, Any]:
    return {"enum": words.split()}


ADDRESS = text(r"^[a-z][a-z0-9+.-]*://[^\s@]+$")
_COMPONENT = table(
    "type name",
    **{
        "type": one_of(
            "application framework library container platform operating-system device device-driver firmware file "
            "machine-learning-model data cryptographic-asset"
        ),
        "name": text(),
        "bom-ref": text(),
        "version": text(),
        "purl": text(r"^pkg:[a-z]+/\S+$"),
        "cpe": text(r"^cpe:2\.3:[aho*-](:\S+){10}$"),
        "hashes": several(table("alg content", alg=one_of("SHA-256"), content=text("^[a-f0-9]{64}$"))),
        "licenses": {**several(table("expression", expression=text())), "maxItems": 1},
        "externalReferences": several(table("url type", url=ADDRESS, type=one_of("distribution"))),
    },
)
CYCLONEDX = table(
    "bomFormat specVersion",
    **{
        "$schema": one_of("http://cyclonedx.org/schema/bom-1.6.schema.json"),
        "bomFormat": one_of("CycloneDX"),
        "specVersion": one_of("1.6"),
        "serialNumber": text("^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
        "version": {"type": "integer", "minimum": 1},
        "metadata": table("", component=_COMPONENT),
        "components": {"type": "array", "items": _COMPONENT, "uniqueItems": True},
    },
)
_SPDX_ID = text(r"^SPDXRef-[A-Za-z0-9.-]+$")
_MAYBE = text(r"^(NOASSERTION|NONE|[A-Za-z0-9(].*)$")
_SPDX_PACKAGE = table(
    "SPDXID name downloadLocation filesAnalyzed licenseConcluded licenseDeclared copyrightText",
    SPDXID=_SPDX_ID,
    name=text(),
    downloadLocation={"anyOf": [one_of("NOASSERTION NONE"), ADDRESS]},
    # True would demand a packageVerificationCode.
    filesAnalyzed={"const": False},
    licenseConcluded=_MAYBE,
    licenseDeclared=_MAYBE,
    versionInfo=text(),
    checksums=several(
        table("algorithm checksumValue", algorithm=one_of("SHA256"), checksumValue=text("^[a-f0-9]{64}$"))
    ),
    externalRefs=several(
        table(
            "referenceCategory referenceLocator referenceType",
            referenceCategory=one_of("PACKAGE-MANAGER SECURITY"),
            referenceLocator=text(r"^\S+$"),
            referenceType=one_of("purl cpe23Type"),
        )
    ),
)
SPDX = table(
    "SPDXID spdxVersion creationInfo name dataLicense documentNamespace",
    SPDXID=one_of("SPDXRef-DOCUMENT"),
    spdxVersion=one_of("SPDX-2.3"),
    dataLicense=one_of("CC0-1.0"),
    name=text(),
    documentNamespace=text("^[a-z]+:[^#]+$"),
    creationInfo=table(
        "created creators",
        created=text(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"),
        creators=several(text("^(Person|Organization|Tool): .+$")),
    ),
    packages={"type": "array", "items": _SPDX_PACKAGE},
    relationships={
        "type": "array",
        "items": table(
            "spdxElementId relatedSpdxElement relationshipType",
            spdxElementId=_SPDX_ID,
            relatedSpdxElement=_SPDX_ID,
            relationshipType=one_of("DESCRIBES"),
        ),
    },
)


@pytest.mark.cnb("BLD-26")
@pytest.mark.parametrize(("write", "schema"), [(cyclonedx, CYCLONEDX), (spdx, SPDX)], ids=["cdx", "spdx"])
@pytest.mark.parametrize(
    "components",
    [
        [],
        [BARE],
        [TOOL, BARE],
        [Component(TOOL.name, TOOL.version, purl=TOOL.purl), TOOL],
        [Component("\N{SNOWMAN}", "\N{SNOWMAN}"), Component("-", "."), Component("x" * 500, license="MIT")],
        [Component(name, kind=kind) for name, kind in zip("abcdef", KINDS, strict=True)],
    ],
    ids=["none", "bare", "both", "twins", "odd names", "kinds"],
)
def test_every_field_is_as_the_format_says(
    write: Callable[..., bytes], schema: dict[str, Any], components: list[Component]
) -> None:
    found = json.loads(write(components, subject="layer"))
    jsonschema.Draft202012Validator(schema).validate(found)


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
