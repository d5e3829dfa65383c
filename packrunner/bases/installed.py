"""Which Debian packages an image has: dpkg's own list, read out of the layers. Ubuntu's and distroless images too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packrunner.bases.packages import compare_versions
from packrunner.errors import CorruptError
from packrunner.images.peek import read_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.images.image import Layer
    from packrunner.images.store import LocalStore

Kind = Literal["newer", "older", "new", "gone"]

_STATUS = b"var/lib/dpkg/status"
_STATUS_D = b"var/lib/dpkg/status.d/"  # distroless images have a file for each package
_FIELD = re.compile(rb"(?m)^(Package|Version|Source|Status): *([^\n]*)")
_NAMED = 3


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A package's version, and the source package that it is built from: advisories name that.

    `security` says whether it comes from the security archive, None where that is not known.
    """

    version: str
    source: str
    security: bool | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A package whose version differs; `old` or `new` is "" where there is none."""

    name: str
    kind: Kind
    source: str
    old: str
    new: str
    security: bool | None = None

    def __str__(self) -> str:
        text = {"new": f"{self.new} (new)", "gone": f"{self.old} (gone)"}.get(self.kind, f"{self.old} -> {self.new}")
        notes = [f"source {self.source}"] if self.source != self.name else []
        notes += ["security"] if self.security else []
        return f"{self.name} {text}" + (f" ({', '.join(notes)})" if notes else "")

    def to_json(self) -> dict[str, Any]:
        """As documents show it."""
        return {
            "name": self.name,
            "source": self.source,
            "change": self.kind,
            "old": self.old or None,
            "new": self.new or None,
            "security": self.security,
        }


def installed(layers: Sequence[Layer], store: LocalStore) -> dict[str, Installed] | None:
    """The packages in the layers, by name; None where there is no list of them, or none that can be read."""
    try:
        files = read_files(layers, lambda name: name == _STATUS or name.startswith(_STATUS_D), store)
    except CorruptError:
        return None
    stanzas = [stanza for _, text in sorted(files.items()) for stanza in text.split(b"\n\n")]
    return dict(filter(None, map(_package, stanzas))) if files else None


def _package(stanza: bytes) -> tuple[str, Installed] | None:
    fields = {key: value.decode("utf-8", "replace").strip() for key, value in _FIELD.findall(stanza)}
    name, version = fields.get(b"Package", ""), fields.get(b"Version", "")
    if not name or not version or fields.get(b"Status", "installed").split()[-1:] != ["installed"]:
        return None
    # `Source: openssl (3.5.1-1)`; without the field a package is named like its source.
    return name, Installed(version=version, source=(fields.get(b"Source") or name).split()[0])


def changes(old: Mapping[str, Installed], new: Mapping[str, Installed]) -> tuple[Change, ...]:
    """What became of the packages, by name."""
    found = []
    for name in sorted({**old, **new}):
        before, after = old.get(name), new.get(name)
        if before and after and before.version == after.version:
            continue
        either = after or before
        assert either
        found.append(
            Change(
                name=name,
                kind=_kind(before, after),
                source=either.source,
                old=before.version if before else "",
                new=after.version if after else "",
                security=after.security if after else None,
            )
        )
    return tuple(found)


def _kind(before: Installed | None, after: Installed | None) -> Kind:
    if not before:
        return "new"
    if not after:
        return "gone"
    return "newer" if compare_versions(after.version, before.version) > 0 else "older"


def summary(found: Sequence[Change]) -> str:
    """`6 packages newer, 1 new`; up to three are named."""
    parts: list[str] = []
    kinds: tuple[Kind, ...] = ("newer", "new", "gone", "older")
    for kind in kinds:
        names = [change.name for change in found if change.kind == kind]
        if names:
            noun = " packages"[: len(" packages") - (len(names) == 1)] if not parts else ""
            parts.append(f"{len(names)}{noun} {kind}" + (f": {', '.join(names)}" if len(names) <= _NAMED else ""))
    return "; ".join(parts) or "the same packages"
