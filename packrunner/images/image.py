"""An image is an immutable value: configuration and layers. Stores move it; changing it gives a new one.

Follows the OCI image specification 1.1 (manifest and configuration); Docker's schema 2 is read and kept as it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import msgspec

from packrunner.errors import CorruptError, UsageError
from packrunner.images.manifest import (
    AS_DOCKER,
    AS_OCI,
    CONFIG,
    DOCKER_MANIFEST,
    LAYER_TAR,
    MANIFEST,
    BodyFile,
    ConfigFile,
    DescriptorFile,
    HistoryItem,
    ManifestFile,
    read_json,
    uninterpreted,
)
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CREATED = "1980-01-01T00:00:01Z"
"""When every image was made, unless SOURCE_DATE_EPOCH says otherwise (EXP-28)."""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A blob by its digest and size in bytes."""

    digest: Digest
    size: int
    media_type: str = LAYER_TAR


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer: the digest of its uncompressed tar, the blob that holds it, and how it is described in the history."""

    diff_id: Digest
    blob: Descriptor
    created_by: str = ""
    comment: str = ""
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image. `extra` and `extra_top` are keys of the configuration that packrunner does not interpret.

    An image that was read and not changed gives back the very bytes it was read from, so its digest stays.
    """

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_dir: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    extra_top: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    created: str = CREATED
    original_config: bytes | None = field(default=None, repr=False)
    original_manifest: bytes | None = field(default=None, repr=False)

    def _with(self, **changes: Any) -> Self:
        return replace(self, original_config=None, original_manifest=None, **changes)

    def with_layers(self, *layers: Layer) -> Self:
        """The image with `layers` on top."""
        return self._with(layers=(*self.layers, *layers))

    def with_env(self, name: str, value: str) -> Self:
        """The image with one variable set; its place is kept where it had one."""
        names = [known for known, _ in self.env]
        pairs = [(known, value if known == name else old) for known, old in self.env]
        if name not in names:
            pairs.append((name, value))
        return self._with(env=tuple(pairs))

    def with_labels(self, labels: Mapping[str, str]) -> Self:
        """The image with labels added; a label it had is replaced (EXP-25)."""
        return self._with(labels={**self.labels, **labels})

    def with_entrypoint(self, *argv: str) -> Self:
        """The image started by `argv`; the default arguments are cleared (EXP-17)."""
        return self._with(entrypoint=argv, cmd=())

    def with_working_dir(self, path: str) -> Self:
        """The image started in `path` (EXP-19)."""
        return self._with(working_dir=path)

    def with_user(self, user: str) -> Self:
        """The image run as `user`, in the form of the configuration (`1000:1000`)."""
        return self._with(user=user)

    def with_cmd(self, *argv: str) -> Self:
        """The image with other default arguments."""
        return self._with(cmd=argv)

    def with_ports(self, *ports: str) -> Self:
        """The image that also exposes `ports`, each as `80/tcp`."""
        return self._with(exposed_ports=tuple(dict.fromkeys((*self.exposed_ports, *ports))))

    def with_volumes(self, *paths: str) -> Self:
        """The image that also has volumes at `paths`."""
        return self._with(volumes=tuple(dict.fromkeys((*self.volumes, *paths))))

    def with_stop_signal(self, signal: str) -> Self:
        """The image that is asked to stop by `signal`."""
        return self._with(stop_signal=signal)

    def with_created(self, created: str) -> Self:
        """The image made at `created`, RFC 3339 in UTC (EXP-28)."""
        return self._with(created=created)

    def without_history(self) -> Self:
        """The image whose history tells nothing of any layer, as platforms below 0.12 have it (EXP-29)."""
        nothing = {"created_by": "", "comment": "", "author": ""}
        return self._with(layers=tuple(msgspec.structs.replace(one, **nothing) for one in self.layers))

    def with_base(
        self, base: Image, *, layers: tuple[Layer, ...], labels: Mapping[str, str], extra_top: Mapping[str, Any]
    ) -> Self:
        """The image for the platform of `base`, with other layers and labels (RBS-10)."""
        return self._with(
            os=base.os,
            architecture=base.architecture,
            variant=base.variant,
            layers=layers,
            labels=labels,
            extra_top=extra_top,
        )

    def with_blobs(self, blobs: Mapping[Digest, Descriptor]) -> Self:
        """The image with the layers of these diff ids stored in other blobs, compressed ones for instance.

        Its configuration stays as it is, and so does everything else that its manifest says.
        """
        if not blobs:
            return self
        layers = tuple(
            msgspec.structs.replace(layer, blob=blobs[layer.diff_id]) if layer.diff_id in blobs else layer
            for layer in self.layers
        )
        listed = msgspec.json.decode(self._manifest)
        listed["layers"] = [
            {**entry, **self._described(layer.blob)} if layer.diff_id in blobs else entry
            for entry, layer in zip(listed["layers"], layers, strict=True)
        ]
        return replace(self, layers=layers, original_config=self._config, original_manifest=msgspec.json.encode(listed))

    def _described(self, blob: Descriptor) -> dict[str, Any]:
        media_type = AS_DOCKER.get(blob.media_type, blob.media_type) if self.is_docker else blob.media_type
        return {**descriptor_json(blob), "mediaType": media_type}

    @property
    def is_docker(self) -> bool:
        """Whether the manifest is of Docker's own kind."""
        return self.manifest.media_type == DOCKER_MANIFEST

    def get_env(self, name: str) -> str | None:
        """The value of a variable, None where it is not set."""
        return dict(self.env).get(name)

    def config_bytes(self) -> bytes:
        """The configuration as stored; its digest is the image id of Docker."""
        return self._config

    def manifest_bytes(self) -> bytes:
        """The manifest as stored; its digest is the image's."""
        return self._manifest

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return digest_of(self._manifest)

    @property
    def config(self) -> Descriptor:
        """The descriptor of the configuration."""
        return Descriptor(digest=digest_of(self._config), size=len(self._config), media_type=CONFIG)

    @property
    def manifest(self) -> Descriptor:
        """The descriptor of the manifest, as an index lists it."""
        kind = read_json(self._manifest, ManifestFile, where="the image").media_type or MANIFEST
        return Descriptor(digest=self.digest, size=len(self._manifest), media_type=kind)

    @property
    def manifest_size(self) -> int:
        """Bytes of the manifest (EXP-31)."""
        return len(self._manifest)

    @property
    def size(self) -> int:
        """Bytes of everything: layers as stored, configuration, manifest. A layer listed twice counts once."""
        blobs = {layer.blob.digest: layer.blob.size for layer in self.layers}
        return sum(blobs.values()) + len(self._config) + len(self._manifest)

    @cached_property
    def _config(self) -> bytes:
        if self.original_config is not None:
            return self.original_config
        body = {
            **self.extra,
            "User": self.user,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Env": [f"{name}={value}" for name, value in self.env],
            "Entrypoint": self.entrypoint,
            "Cmd": self.cmd,
            "Volumes": {path: {} for path in self.volumes},
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
        }
        top = {
            **self.extra_top,
            "architecture": self.architecture,
            "os": self.os,
            "variant": self.variant,
            "created": self.created,
            "config": {key: value for key, value in body.items() if value or key in self.extra},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in self.layers]},
            "history": [self._history(layer) for layer in self.layers],
        }
        if not self.variant:
            del top["variant"]
        return msgspec.json.encode(top, order="deterministic")

    def _history(self, layer: Layer) -> dict[str, str]:
        entry = {
            "created": self.created,
            "created_by": layer.created_by,
            "comment": layer.comment,
            "author": layer.author,
        }
        return {key: value for key, value in entry.items() if value}

    @cached_property
    def _manifest(self) -> bytes:
        if self.original_manifest is not None:
            return self.original_manifest
        return msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor_json(self.config),
                "layers": [descriptor_json(layer.blob) for layer in self.layers],
            }
        )


def digest_of(data: bytes) -> Digest:
    """The digest of some bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def descriptor_json(blob: Descriptor) -> dict[str, Any]:
    """A descriptor as the specification writes it."""
    return {"mediaType": blob.media_type, "digest": str(blob.digest), "size": blob.size}


def parse_digest(text: str, *, where: str) -> Digest:
    """A digest from a file; raises CorruptError before any path is made of it (ARC-30)."""
    try:
        return Digest.parse(text)
    except UsageError as e:
        raise CorruptError(f"{where} has a digest that is none: {text[:100]!r}", slug="image-format") from e


def parse_descriptor(item: DescriptorFile, *, where: str) -> Descriptor:
    """A checked descriptor; Docker's media types become OCI's, as the bytes are the same."""
    if not 0 <= item.size < 1 << 62:
        raise CorruptError(f"{where} has a blob of {item.size} bytes", slug="image-format")
    media_type = AS_OCI.get(item.media_type, item.media_type)
    return Descriptor(digest=parse_digest(item.digest, where=where), size=item.size, media_type=media_type)


def parse_image(manifest: bytes, config: bytes, *, where: str = "the image") -> Image:
    """An image from its manifest and configuration, whose bytes it keeps.

    Raises CorruptError, naming `where`, for bytes that are not what the specification or the digests say (ARC-29).
    """
    listed = read_json(manifest, ManifestFile, where=where)
    if listed.schema_version != 2 or listed.config is None or listed.manifests is not None:
        raise CorruptError(f"{where} is no image manifest of schema version 2", slug="image-format")
    expected = parse_descriptor(listed.config, where=where)
    if digest_of(config) != expected.digest or len(config) != expected.size:
        raise CorruptError(
            f"{where} has a configuration that is not what its manifest says",
            slug="image-format",
            cause=f"expected {expected.digest}, found {digest_of(config)}",
        )
    blobs = [parse_descriptor(item, where=where) for item in listed.layers or ()]
    return replace(image_from_config(config, blobs, where=where), original_manifest=manifest)


def image_from_config(config: bytes, blobs: Sequence[Descriptor], *, where: str = "the image") -> Image:
    """An image from its configuration and the blobs of its layers, lowest first; keeps the bytes of `config`."""
    parsed = read_json(config, ConfigFile, where=where)
    diff_ids = [parse_digest(text, where=where) for text in parsed.rootfs.diff_ids or ()]
    if len(diff_ids) != len(blobs):
        raise CorruptError(f"{where} has {len(blobs)} layers and {len(diff_ids)} diff ids", slug="image-format")
    history = [item for item in parsed.history or () if not item.empty_layer]
    if len(history) != len(blobs):
        history = [HistoryItem() for _ in blobs]
    layers = tuple(
        Layer(diff_id=diff_id, blob=blob, created_by=item.created_by, comment=item.comment, author=item.author)
        for diff_id, blob, item in zip(diff_ids, blobs, history, strict=True)
    )
    body = parsed.config or BodyFile()
    extra, extra_top = uninterpreted(config)
    return Image(
        os=parsed.os,
        architecture=parsed.architecture,
        variant=parsed.variant,
        env=tuple((name, value) for name, _, value in (item.partition("=") for item in body.env or ())),
        user=body.user,
        working_dir=body.working_dir,
        entrypoint=tuple(body.entrypoint or ()),
        cmd=tuple(body.cmd or ()),
        labels=body.labels or {},
        exposed_ports=tuple(body.exposed_ports or ()),
        volumes=tuple(body.volumes or ()),
        stop_signal=body.stop_signal,
        extra=extra,
        extra_top=extra_top,
        layers=layers,
        created=parsed.created or CREATED,
        original_config=config,
    )
