"""`index.json` of the store: which name means which manifest, in the form of an OCI image layout."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from packrunner.errors import CorruptError, UsageError
from packrunner.images.image import Descriptor, descriptor_json, parse_descriptor
from packrunner.images.manifest import INDEX, REF_NAME, DescriptorFile
from packrunner.names import ImageName

WRITTEN = "io.packrunner.written-at"
_LIMIT = 64 << 20


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """A name for a manifest; `written_at` is in seconds since 1970."""

    name: str
    manifest: Descriptor
    written_at: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the index has it."""
        return {**descriptor_json(self.manifest), "annotations": {REF_NAME: self.name, WRITTEN: str(self.written_at)}}


class Index(msgspec.Struct, frozen=True):
    """All names, sorted. `bad` counts entries that could not be read; they are left out when it is written again."""

    refs: tuple[Ref, ...] = ()
    bad: int = 0

    def get(self, name: str) -> Ref | None:
        """The entry of a tagged name."""
        return next((ref for ref in self.refs if ref.name == name), None)

    def put(self, name: str, manifest: Descriptor) -> Index:
        """The index with the name for this manifest."""
        new = Ref(name=name, manifest=manifest, written_at=int(time.time()))
        return Index(tuple(sorted((*self.drop(name).refs, new), key=lambda ref: ref.name)))

    def drop(self, name: str) -> Index:
        """The index without the name."""
        return msgspec.structs.replace(self, refs=tuple(ref for ref in self.refs if ref.name != name))

    def encode(self) -> bytes:
        """The file's bytes."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [ref.to_json() for ref in self.refs]}
        return msgspec.json.encode(index)


class _File(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    manifests: tuple[msgspec.Raw, ...]


def decode(data: bytes) -> Index:
    """Read an index; raises ValueError when the whole is unreadable. One bad entry costs that entry only (STO-04)."""
    if len(data) > _LIMIT:
        raise ValueError(f"{len(data)} bytes")
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as e:
        raise ValueError(str(e)) from e
    refs: dict[str, Ref] = {}
    bad = 0
    for raw in file.manifests:
        try:
            ref = _ref(raw)
        except (msgspec.DecodeError, RecursionError, KeyError, ValueError, CorruptError, UsageError):
            bad += 1
            continue
        refs[ref.name] = ref
    return Index(tuple(refs[name] for name in sorted(refs)), bad)


def _ref(raw: msgspec.Raw) -> Ref:
    item = msgspec.json.decode(raw, type=DescriptorFile)
    notes = item.annotations or {}
    manifest = parse_descriptor(item, where="index.json")
    name = ImageName.parse(notes[REF_NAME]).tagged
    return Ref(name=name, manifest=manifest, written_at=int(notes.get(WRITTEN, "0")))
