"""What is remembered of extended images, so that an unchanged Dockerfile does not run again (EXT-11).

    <cache>/extended/<key>.json

The key holds everything that the result depends on: the image below, the Dockerfile, its arguments, its context. A
record names a layer in the store, never its content, and the configuration that the Dockerfile left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import confined
from packrunner.images.image import Descriptor, Layer
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.image import Image

DIRECTORY = "extended"
_FORMAT = 1
_CONFIG = ("env", "user", "working_dir", "entrypoint", "cmd", "labels", "exposed_ports", "volumes", "stop_signal")

log = logging.getLogger(__name__)


class Extended(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Dockerfile's result; `diff_id` is "" where it changed no file."""

    format: int = _FORMAT
    diff_id: str = ""
    size: int = 0
    created_by: str = ""
    config: dict[str, Any] = {}

    @property
    def layer(self) -> Layer | None:
        """The layer that the Dockerfile made."""
        if not self.diff_id:
            return None
        digest = Digest.parse(self.diff_id)
        return Layer(diff_id=digest, blob=Descriptor(digest=digest, size=self.size), created_by=self.created_by)

    def applied(self, image: Image) -> Image:
        """The image with that configuration and layer."""
        done = (
            image.with_user(self.config["user"])
            .with_working_dir(self.config["working_dir"])
            .with_entrypoint(*self.config["entrypoint"])
            .with_cmd(*self.config["cmd"])
            .with_labels(self.config["labels"])
            .with_ports(*self.config["exposed_ports"])
            .with_volumes(*self.config["volumes"])
            .with_stop_signal(self.config["stop_signal"])
        )
        for name, value in self.config["env"]:
            done = done.with_env(name, value)
        return done.with_layers(self.layer) if self.layer else done


def record_of(image: Image, layer: Layer | None) -> Extended:
    """The record of an image whose Dockerfile made `layer`."""
    config: dict[str, Any] = {name: msgspec.to_builtins(getattr(image, name)) for name in _CONFIG}
    if layer is None:
        return Extended(config=config)
    return Extended(diff_id=str(layer.diff_id), size=layer.blob.size, created_by=layer.created_by, config=config)


def key(**facts: Any) -> str:
    """The key of a result that depends on these facts and nothing else."""
    text = json.dumps({"format": _FORMAT, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read(directory: str, name: str) -> Extended | None:
    """A record, None where there is none that this version understands; reading it keeps it from `prune`."""
    path = _path(directory, name)
    try:
        with open(path, "rb") as file:
            record = msgspec.json.decode(file.read(), type=Extended)
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as e:
        log.warning("%s is not used: %s", path, e)
        return None
    return record if record.format == _FORMAT else None


def write(directory: str, name: str, record: Extended) -> None:
    """Keep a record; raises StoreError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    confined.write_atomic(_path(directory, name), msgspec.json.encode(record, order="deterministic"))


def prune(directory: str, *, unused_for: float, dry_run: bool = False) -> None:
    """Forget what no build has used for so many seconds."""
    limit = time.time() - unused_for
    for name in _names(directory):
        path = os.path.join(directory, name)
        if not dry_run and os.stat(path).st_mtime < limit:
            os.unlink(path)


def referenced_blobs(directory: str) -> Iterator[Digest]:
    """The layers that the records need: what a prune of the store has to keep."""
    for name in _names(directory):
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        try:
            diff_id = msgspec.json.decode(data, type=Extended).diff_id
        except msgspec.DecodeError:
            continue  # another version's, or torn: it is not used either
        if diff_id:
            yield Digest.parse(diff_id)


def _path(directory: str, name: str) -> str:
    return os.path.join(directory, f"{name}.json")


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(".json")]
    except FileNotFoundError:
        return []
