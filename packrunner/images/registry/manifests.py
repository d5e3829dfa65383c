"""Manifests and configurations of a registry: fetched, bounded, known by nothing but the hash of their bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.errors import CorruptError
from packrunner.images.image import Image, digest_of, parse_descriptor, parse_image
from packrunner.images.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    JSON_LIMIT,
    MANIFEST,
    IndexFile,
    ManifestFile,
    read_json,
)
from packrunner.images.registry.client import Client, Scope
from packrunner.images.registry.failures import Failure, Patience, printable
from packrunner.images.registry.fetch import pieces
from packrunner.images.several import INDEXES, Several, choose, listed_images

if TYPE_CHECKING:
    from packrunner.images.image import Descriptor
    from packrunner.images.manifest import PlatformFile

ACCEPT = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"
_KNOWN = frozenset({*INDEXES, MANIFEST, DOCKER_MANIFEST})
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_NESTED = 3


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest or an index: its bytes and what they are."""

    data: bytes
    media_type: str


def fetch_image(client: Client, repository: str, identifier: str, platform: PlatformFile) -> Image | None:
    """The image for a platform at a tag or digest; None where there is none.

    Raises Failure, CorruptError (`image-format`), UsageError (`unknown-image`: there, but not for the platform).
    """
    where = f"{client.registry}/{repository}"
    found = _manifest(client, repository, identifier)
    for _ in range(_NESTED + 1):
        if found is None:
            return None
        if found.media_type not in INDEXES:
            return _with_config(client, repository, found.data, where)
        entry = choose(read_json(found.data, IndexFile, where=where), platform, where)
        child = parse_descriptor(entry, where=where)
        found = _manifest(client, repository, child.digest)
        if found and len(found.data) != child.size:
            raise Failure("corrupt", client.registry, f"{len(found.data)} bytes of a manifest, {child.size} are listed")
    raise CorruptError(f"{where} has indexes within indexes within indexes", slug="image-format")


def fetch_all(client: Client, repository: str, identifier: str) -> Image | Several | None:
    """What is at a tag or digest, for every platform; None where there is nothing. Raises what `fetch_image` does."""
    where = f"{client.registry}/{repository}"
    found = _manifest(client, repository, identifier)
    if found is None:
        return None
    if found.media_type not in INDEXES:
        return _with_config(client, repository, found.data, where)
    images = []
    for entry in listed_images(read_json(found.data, IndexFile, where=where)):
        digest = parse_descriptor(entry, where=where).digest
        one = fetch_image(client, repository, digest, entry.platform or client.settings.platform)
        if one:
            images.append(one)
    return Several(images=tuple(images), original=found.data)


def _with_config(client: Client, repository: str, manifest: bytes, where: str) -> Image:
    listed = read_json(manifest, ManifestFile, where=where)
    if listed.config is None:
        raise CorruptError(f"{where} has a manifest that is none", slug="image-format")
    blob = parse_descriptor(listed.config, where=where)
    return parse_image(manifest, fetch_small(client, repository, blob, where), where=where)


def fetch_small(client: Client, repository: str, blob: Descriptor, where: str) -> bytes:
    """A blob of JSON, verified."""
    if blob.size > JSON_LIMIT:
        raise CorruptError(f"{where} has a configuration of {blob.size} bytes", slug="image-format")
    for last in (False, True):
        try:
            return b"".join(pieces(client, repository, blob))
        except Failure as failure:
            # Wrong bytes may be an accident of the line, once (REG-02).
            if failure.kind != "corrupt" or last:
                raise
    raise AssertionError(blob)


def _manifest(client: Client, repository: str, identifier: str) -> Found | None:
    for last in (False, True):
        found = _asked(client, repository, identifier)
        if found is None:
            return None
        made = digest_of(found.data)
        if not identifier.startswith("sha256:") or made == identifier:
            return found
        if last:
            raise Failure("corrupt", client.registry, f"a manifest with the digest {made} came for {identifier}")
    raise AssertionError(identifier)


def _asked(client: Client, repository: str, identifier: str) -> Found | None:
    scope = Scope(repository=repository)
    patience = Patience(client.settings)
    while True:
        try:
            target = client.path(repository, f"manifests/{identifier}")
            with client.attempt("GET", target, scope, headers={"Accept": ACCEPT}) as answer:
                if answer.status == 404:
                    answer.small()
                    return None
                if answer.status != 200:
                    raise client.refusal(answer, scope, f"the manifest of {repository}")
                data = answer.small(JSON_LIMIT)
                if len(data) > JSON_LIMIT:
                    raise Failure("answer", client.registry, f"a manifest of more than {JSON_LIMIT} bytes")
                length = answer.header("content-length")
                if length.isdecimal() and int(length) != len(data) and not answer.header("content-encoding"):
                    raise Failure("unreachable", client.registry, "a manifest that ends too early", retry=True)
                where = f"{client.registry}/{repository}"
                return Found(data=data, media_type=media_type(data, answer.header("content-type"), where))
        except Failure as failure:
            patience.after(failure)


def media_type(data: bytes, header: str, where: str) -> str:
    """What a manifest is, by its body and its header, which may not disagree (REG-19, REG-20)."""
    told = header.partition(";")[0].strip().lower()
    if told.startswith("text/html"):
        raise Failure("answer", where.partition("/")[0], "a page of HTML in place of a manifest")
    body = _object(data, where)
    if body.get("schemaVersion") == 1 or told.startswith(_SCHEMA_1):
        raise CorruptError(
            f"{where} is an image of schema 1, which is not supported",
            slug="image-format",
            tries=("push the image anew with a tool of this decade",),
        )
    inner = body.get("mediaType")
    shape = [name for name in ("layers", "manifests") if body.get(name) is not None]
    if len(shape) > 1 or (told in _KNOWN and isinstance(inner, str) and inner != told):
        raise CorruptError(
            f"{where} has a manifest that can be read in two ways",
            slug="image-format",
            cause=f"it is called {told or 'nothing'} outside and {printable(str(inner))} inside, and has {shape}",
        )
    kind = inner if isinstance(inner, str) and inner else told
    if kind not in _KNOWN:
        kind = INDEX if shape == ["manifests"] else MANIFEST
    if (kind in INDEXES) != (shape == ["manifests"]):
        raise CorruptError(f"{where} has a manifest that is not what it is called", slug="image-format", cause=kind)
    return kind


def _object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object; one with a key twice is another thing to every reader (REG-21)."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    try:
        # msgspec first: it ends at its depth limit, and json recurses.
        msgspec.json.decode(data)
        body = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{where} has a manifest that is none", slug="image-format", cause=str(error)) from error
    if not isinstance(body, dict):
        raise CorruptError(f"{where} has a manifest that is none", slug="image-format")
    return body
