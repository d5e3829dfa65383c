"""The layers of an image, written into the store or proven to be there already (EXP-02 - EXP-16).

Each is written by the one layer writer, with constant times and the owners that the specification asks for. A tree
that restore proved, and that is still in the state it was proven in, is not read at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint
from packrunner.errors import ExportError, UsageError
from packrunner.images.image import Descriptor, Layer
from packrunner.images.layer import Dir, File, Link, Tree, write_layer
from packrunner.lifecycle.cache import prove
from packrunner.names import Digest
from packrunner.workspace import LAYERS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packrunner.images.layer import WrittenLayer
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.restore import TreeProof
    from packrunner.lifecycle.sbom import Sbom

LAUNCHER = "/cnb/lifecycle/launcher"
PROCESS_DIR = "/cnb/process"
Part = Tree | Dir | File | Link


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A layer in the store, and the proof of the tree it was made of ("" where there is none to keep).

    `newest` is when something in the tree was changed last, in nanoseconds; 0 for a tree that was not looked at.
    """

    layer: Layer
    tree: str = ""
    newest: int = 0
    warnings: tuple[str, ...] = ()


def created_by(buildpack: str, name: str) -> str:
    """The history entry of a buildpack's layer (EXP-29)."""
    return f"Layer: '{name}', Created by buildpack: {buildpack}"


class LayerWriter:
    """Writes layers into `store`; contents belong to `user` (uid, gid), whoever owns them here.

    `layers_dir` is where images have their layers.
    """

    def __init__(self, store: LocalStore, user: tuple[int, int], *, layers_dir: str = LAYERS_DIR) -> None:
        self.store = store
        self.layers_dir = layers_dir
        self.uid, self.gid = user

    def tree(self, source: str, place: str, *, comment: str, proof: TreeProof | None, previous: str) -> Known:
        """A buildpack's layer at `<layers>/<place>`; `previous` is the diff id of the same layer's last version."""
        if proof and self._still(source, proof):
            digest = Digest(proof.diff_id)
            blob = Descriptor(digest=digest, size=proof.size)
            return Known(layer=Layer(diff_id=digest, blob=blob, created_by=comment), tree=proof.tree)
        target = f"{self.layers_dir}/{place}"
        parts: list[Part] = [
            *self._dirs(_above(target)),
            Tree(source=source, target=target, uid=self.uid, gid=self.gid),
        ]
        began = time.time_ns()
        written = self.write(parts, comment, previous)
        table = written.tables.get(source)
        settled = table is not None and fingerprint.settled(table, began)
        state = fingerprint.digest(table) if table is not None and settled else prove(source)
        newest = fingerprint.newest(table) if table is not None else 0
        return Known(layer=written.layer, tree=state, newest=newest, warnings=written.warnings)

    def app(self, tree: Tree | None, *, comment: str, previous: str) -> Known:
        """An application layer or slice; None is a slice without files."""
        written = self.write([tree] if tree else [], comment, previous)
        return Known(layer=written.layer, warnings=written.warnings)

    def sboms(self, scope: str, sboms: Iterable[Sbom], *, previous: str) -> Layer | None:
        """The tree `<layers>/sbom/<scope>`, if anything is in it (EXP-10)."""
        files = {f"{self.layers_dir}/sbom/{scope}/{s.path}": s.data for s in sboms if s.scope == scope}
        if not files:
            return None
        parts: list[Part] = [self._file(path, files[path]) for path in files]
        parts += self._dirs({parent for path in files for parent in _above(path)})
        parts.sort(key=lambda part: part.target)
        return self.write(parts, "Software Bill-of-Materials", previous).layer

    def launcher(self, source: str, *, previous: str) -> Layer:
        """The launcher, as root's (EXP-16)."""
        parts: list[Part] = [
            Dir(target="/cnb"),
            Dir(target="/cnb/lifecycle"),
            File(target=LAUNCHER, source=source, mode=0o755),
        ]
        return self.write(parts, "Buildpacks Application Launcher", previous).layer

    def config(self, metadata: bytes, *, previous: str) -> Layer:
        """`<layers>/config/metadata.toml`."""
        target = f"{self.layers_dir}/config/metadata.toml"
        parts: list[Part] = [*self._dirs(_above(target)), self._file(target, metadata)]
        return self.write(parts, "Buildpacks Launcher Config", previous).layer

    def process_types(self, types: Iterable[str], *, previous: str) -> Layer | None:
        """A link to the launcher for each process type; no layer without processes."""
        links = [Link(target=f"{PROCESS_DIR}/{name}", to=LAUNCHER) for name in sorted(set(types))]
        if not links:
            return None
        parts: list[Part] = [Dir(target="/cnb"), Dir(target=PROCESS_DIR), *links]
        return self.write(parts, "Buildpacks Process Types", previous).layer

    def write(self, parts: Sequence[Part], comment: str, previous: str) -> WrittenLayer:
        """Write one layer; what `previous` (a diff id or "") holds unchanged is taken from there."""
        return write_layer(self.store, parts, created_by=comment, previous=self._stored(previous))

    def _still(self, source: str, proof: TreeProof) -> bool:
        try:
            return prove(source) == proof.tree
        except OSError as e:
            raise ExportError(f"{source} cannot be read", slug="layer-unreadable", cause=str(e), at=source) from e

    def _stored(self, diff_id: str) -> Digest | None:
        try:
            digest = Digest.parse(diff_id)
        except UsageError:
            return None
        return digest if self.store.has(digest) else None

    def _dirs(self, targets: Iterable[str]) -> list[Dir]:
        return [Dir(target=target, uid=self.uid, gid=self.gid) for target in targets]

    def _file(self, target: str, data: bytes) -> File:
        return File(target=target, data=data, uid=self.uid, gid=self.gid)


def _above(path: str) -> list[str]:
    """The directories that lead to a path, topmost first, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(2, len(parts))]
