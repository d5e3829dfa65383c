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
        if spec.image and not spec.tree:
            return spec.image
        # Root's, as in every image: here the tree may belong to whoever made it.
        tree = Tree(source=_tree(spec), target="/", uid=0, gid=0)
        written = write_layer(self._store, [tree], created_by="packrunner").layer
        return Image().with_layers(written, *(spec.image.layers if spec.image else ()))


def key(spec: SandboxSpec) -> str:
    """What stands for the content: an image's digest, and a directory's, which does not change once it is made."""
    words = [f"image {spec.image.digest}"] if spec.image else []
    if spec.tree or not spec.image:
        found = os.stat(_tree(spec))
        words.append(f"tree {os.path.realpath(_tree(spec))} {found.st_dev} {found.st_ino} {found.st_ctime_ns}")
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _tree(spec: SandboxSpec) -> str:
    if spec.tree:
        return spec.tree
    if len(spec.rootfs) != 1:
        raise EngineError("a stack of directories that are no image cannot be sent to Docker", slug="sandbox-failed")
    return spec.rootfs[0]
