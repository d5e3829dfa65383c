"""The image that a container is made of: the build image, sent once, and again where it was pruned (K8S-14)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from packrunner.errors import EngineError
from packrunner.images.image import Image
from packrunner.images.layer import Tree, write_layer

if TYPE_CHECKING:
    from packrunner.engines.base import SandboxSpec
    from packrunner.images.daemon import Daemon
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

REPOSITORY = "packrunner.local/build"
"""What private images are called in the engine."""


class BuildImages:
    """Names of build images in the engine; `store` has their layers, or gets them."""

    def __init__(self, daemon: Daemon, store: LocalStore) -> None:
        self._daemon = daemon
        self._store = store

    def name(self, spec: SandboxSpec) -> str:
        """The reference by which the engine finds the image, loaded there if need be."""
        name = f"{REPOSITORY}:{key(spec)}"
        if not self._daemon.has(name):
            with self._store.lease():
                self._daemon.load(self._image(spec), [name], self._store)
        return name

    def _image(self, spec: SandboxSpec) -> Image:
        if spec.image:
            return spec.image
        if len(spec.rootfs) != 1:
            raise EngineError("a stack of directories that is no image cannot be sent to Docker", slug="sandbox-failed")
        # Root's, as in every image: here the tree may belong to whoever made it.
        tree = Tree(source=spec.rootfs[0], target="/", uid=0, gid=0)
        return Image().with_layers(write_layer(self._store, [tree], created_by="packrunner").layer)


def key(spec: SandboxSpec) -> str:
    """What stands for the content: an image's digest, or else the directories, which do not change once made."""
    if spec.image:
        return _short(spec.image.digest)
    digest = hashlib.sha256()
    for path in spec.rootfs:
        found = os.stat(path)
        digest.update(f"{os.path.realpath(path)}\0{found.st_dev} {found.st_ino} {found.st_ctime_ns}\0".encode())
    return f"tree-{digest.hexdigest()[:16]}"


def _short(digest: Digest) -> str:
    return digest.hex[:16]
