"""Bills of materials: components in, CycloneDX 1.6 or SPDX 2.3 out, as JSON.

    layer.components(Component("esbuild", "0.28.2", purl=purl("npm", "esbuild", "0.28.2"), license="MIT"))

The same components make the same bytes, in whatever order they come: no clock and no chance is in a document, because
it is part of an image whose digest must not change when nothing has. What a format wants to be unique is derived from
the content; SPDX's time is that of SOURCE_DATE_EPOCH, or the one that files in images have.
"""

from __future__ import annotations

import os

from .digest import sha256 as new_sha256
from .report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal, TypeAlias

    Kind = Literal["application", "framework", "library", "platform", "file", "data"]
    Format = Literal["cdx", "spdx"]
    Json: TypeAlias = str | bool | int | list["Json"] | dict[str, "Json"]
    """What goes into a document."""

MEDIA_TYPES: dict[str, Format] = {"application/vnd.cyclonedx+json": "cdx", "application/spdx+json": "spdx"}
"""What `sbom-formats` in buildpack.toml has to list."""

_EPOCH = 315532801
"""1980-01-01T00:00:01Z."""
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")
_IDENTIFIER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")


class Component:
    """One thing that is in an image, or that something in it was made with."""

    def __init__(
        self,
        name: str,
        version: str = "",
        *,
        kind: Kind = "library",
        purl: str = "",
        license: str = "",  # noqa: A002 - what it is called
        sha256: str = "",
        url: str = "",
        cpe: str = "",
    ) -> None:
        """`license` is an SPDX expression; `url` is where it was fetched, `sha256` that of what was fetched."""
        self.name = name
        self.version = version
        self.kind = kind
        self.purl = purl
        self.license = license
        self.sha256 = sha256.lower()
        self.url = _without_login(url)
        self.cpe = cpe

    def _key(self) -> tuple[str, ...]:
        return (self.name, self.version, self.purl, self.kind, self.license, self.sha256, self.url, self.cpe)

    def __eq__(self, other: object) -> bool:
        """Whether all properties are the same."""
        return isinstance(other, Component) and self._key() == other._key()

    def __hash__(self) -> int:
        """Of all properties."""
        return hash(self._key())

    def __lt__(self, other: Component) -> bool:
        """The order in documents: by name, then by version."""
        return self._key() < other._key()


def purl(kind: str, name: str, version: str = "", *, namespace: str = "", **qualifiers: str) -> str:
    """A package URL: `purl("npm", "esbuild", "0.28.2")` is pkg:npm/esbuild@0.28.2."""
    kind = kind.lower()
    if kind == "pypi":
        name = name.lower().replace("_", "-")
    parts = [*(part for part in namespace.split("/") if part), name]
    text = f"pkg:{kind}/{'/'.join(_quoted(part) for part in parts)}"
    if version:
        text += f"@{_quoted(version)}"
    pairs = [f"{key.lower()}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value]
    return text + (f"?{'&'.join(pairs)}" if pairs else "")


def document(form: Format, components: Iterable[Component], *, subject: str) -> bytes:
    """The bill of materials of `subject`: what a layer is, or an application."""
    return (cyclonedx if form == "cdx" else spdx)(components, subject=subject)


def cyclonedx(components: Iterable[Component], *, subject: str) -> bytes:
    """CycloneDX 1.6."""
    used: set[str] = set()
    listed: list[Json] = []
    for one in sorted(set(components)):
        ref = _unique(one.purl or f"{one.name}@{one.version}", used)
        entry: dict[str, Json] = {"type": one.kind, "bom-ref": ref, "name": one.name}
        entry |= _given({"version": one.version, "purl": one.purl, "cpe": one.cpe})
        if one.sha256:
            entry["hashes"] = [{"alg": "SHA-256", "content": one.sha256}]
        if one.license:
            entry["licenses"] = [{"expression": one.license}]
        if one.url:
            entry["externalReferences"] = [{"type": "distribution", "url": one.url}]
        listed.append(entry)
    about: Json = {"component": {"type": "application", "bom-ref": _unique(subject, used), "name": subject}}
    content: dict[str, Json] = {"metadata": about, "components": listed}
    head: dict[str, Json] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": _urn(content),
        "version": 1,
    }
    return _json({**head, **content})


def spdx(components: Iterable[Component], *, subject: str) -> bytes:
    """SPDX 2.3."""
    used: set[str] = {"SPDXRef-DOCUMENT"}
    packages: list[Json] = []
    related: list[Json] = []
    for one in sorted(set(components)):
        identifier = _unique(f"SPDXRef-{_identifier(f'{one.name}-{one.version}')}", used, joint="-")
        packages.append(_spdx_package(one, identifier))
        related.append(
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": identifier,
            }
        )
    content: dict[str, Json] = {"name": subject, "packages": packages, "relationships": related}
    head: dict[str, Json] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "documentNamespace": _urn(content),
        "creationInfo": {"created": _created(), "creators": ["Tool: packrunner.sdk"]},
    }
    return _json({**head, **content})


def _spdx_package(one: Component, identifier: str) -> dict[str, Json]:
    package: dict[str, Json] = {
        "SPDXID": identifier,
        "name": one.name,
        "downloadLocation": one.url or "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": one.license or "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }
    package |= _given({"versionInfo": one.version})
    if one.sha256:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": one.sha256}]
    references: list[Json] = []
    for category, kind, locator in (("PACKAGE-MANAGER", "purl", one.purl), ("SECURITY", "cpe23Type", one.cpe)):
        if locator:
            references.append({"referenceCategory": category, "referenceType": kind, "referenceLocator": locator})
    if references:
        package["externalRefs"] = references
    return package


def declared(descriptor: Mapping[str, object]) -> list[Format]:
    """The formats that a buildpack.toml lists and this module writes; raises Failure when there is none."""
    table = descriptor.get("buildpack")
    listed = table.get("sbom-formats") if isinstance(table, dict) else None
    found = [MEDIA_TYPES[one] for one in listed if one in MEDIA_TYPES] if isinstance(listed, list) else []
    if not found:
        wanted = ", ".join(f'"{one}"' for one in MEDIA_TYPES)
        raise Failure(
            "writes bills of materials and lists no format for them",
            at="buildpack.toml",
            tries=(f"sbom-formats = [{wanted}], or one of them, in its table [buildpack]",),
        )
    return found


def write(prefix: str, components: Iterable[Component], *, subject: str, formats: Callable[[], list[Format]]) -> None:
    """Write `<prefix>.sbom.<format>.json` for each format."""
    listed = list(components)
    for form in formats():
        with open(f"{prefix}.sbom.{form}.json", "wb") as file:
            file.write(document(form, listed, subject=subject))


def _given(table: dict[str, str]) -> dict[str, Json]:
    return {key: value for key, value in table.items() if value}


def _quoted(text: str) -> str:
    data = text.encode()
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in data)


def _identifier(text: str) -> str:
    # Of a name in another script nothing is left, and an identifier has to have something.
    return "".join(c if c in _IDENTIFIER else "-" for c in text).strip("-") or "package"


def _unique(text: str, used: set[str], *, joint: str = "#") -> str:
    found, number = text, 1
    while found in used:
        number += 1
        found = f"{text}{joint}{number}"
    used.add(found)
    return found


def _without_login(url: str) -> str:
    """A login in an address is not for those who read the image's bill of materials."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _created() -> str:
    import time

    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isascii() and epoch.isdigit() else _EPOCH
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _urn(content: Json) -> str:
    """A name for this content and no other, in the form that identifiers by chance have."""
    hashed = new_sha256()
    hashed.update(_json(content))
    text = hashed.hexdigest()
    # The two digits that say that it is a UUID whose bits mean what its maker wants (RFC 9562, version 8).
    return f"urn:uuid:{text[:8]}-{text[8:12]}-8{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def _json(value: Json) -> bytes:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
