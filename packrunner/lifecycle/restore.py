"""Restore: the layers directory brought to what the build may start from (RES-08 - RES-19).

The directory persists between builds of an application, so restoring is mostly proving: a cached layer's tree stays
where it is when its fingerprint is the recorded one, and is unpacked from its tar in the store when it is not. All
else is removed. Everything below the directory was written by buildpacks and is only touched through confined.Root.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner import confined
from packrunner.errors import CorruptError, UnsafeArchiveError, UsageError
from packrunner.events import Noted, Warned
from packrunner.formats import toml
from packrunner.formats.api import PLATFORM_API, platform_features
from packrunner.lifecycle.cache import prove
from packrunner.lifecycle.decisions import Dropped, Wanted, decide, record_of
from packrunner.names import BuildpackId, Digest, LayerName
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from packrunner.events import Reporter
    from packrunner.formats.group import GroupMember
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.images.layout import Blobs
    from packrunner.lifecycle.cache import CachedLayer, CacheRecord

_STAGING = ".packrunner-restore"
_SBOM_LIMIT = 32 << 20
_SBOM_EXTENSIONS = ("cdx.json", "spdx.json", "syft.json")
Action = Literal["kept", "unpacked", "metadata", "dropped"]
DAMAGED = "its stored copy is damaged or gone"

log = logging.getLogger(__name__)


class RestoreInputs(msgspec.Struct, frozen=True, kw_only=True):
    """`layers` is the host's path of /layers; `owner` is who files belong to when root restores, else None.

    `places` says where images have their layers.
    """

    layers: str
    owner: tuple[int, int] | None
    group: tuple[GroupMember, ...]
    label: LifecycleLabel
    cache: CacheRecord
    clear: bool = False
    exec_env: str = "production"
    platform_api: str = PLATFORM_API
    places: Places = PLACES
    foreign: bool = False
    """What else is in the directory belongs to the platform and stays; analyze left the image's SBOMs in it."""


class TreeProof(msgspec.Struct, frozen=True, kw_only=True):
    """A restored tree: it holds the layer `diff_id`, whose tar has `size` bytes, as long as its state is `tree`."""

    diff_id: str
    size: int
    tree: str


class LayerDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a layer of the last build: `kept` in place, `unpacked`, its `metadata` alone, or `dropped`.

    `diff_id` is the layer of the cache that came back, "" where none did.
    """

    buildpack: str
    name: str
    action: Action
    reason: str = ""
    diff_id: str = ""


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and the proofs of the trees that are back, by buildpack id and layer name."""

    decisions: tuple[LayerDecision, ...] = ()
    proofs: Mapping[tuple[str, str], TreeProof] = msgspec.field(default_factory=dict)


def restore(inputs: RestoreInputs, *, store: Blobs, reporter: Reporter) -> RestoreResult:
    """Bring the layers directory to the state that the records call for; a damaged copy only warns (RES-18)."""
    with confined.Root.open(inputs.layers) as root:
        restorer = _Restorer(inputs, root, store, reporter)
        return restorer.run(_decided(inputs))


def foresee(inputs: RestoreInputs, *, has: Callable[[Digest], bool]) -> tuple[LayerDecision, ...]:
    """What `restore` would decide, without touching anything; `has` says whether there is a copy of a layer.

    Only that a copy is damaged is not seen before it is read.
    """
    if not os.path.isdir(inputs.layers):
        return tuple(_foreseen(None, one, has) for one in _decided(inputs))
    with confined.Root.open(inputs.layers) as root:
        return tuple(_foreseen(root, one, has) for one in _decided(inputs))


def _foreseen(root: confined.Root | None, one: Wanted | Dropped, has: Callable[[Digest], bool]) -> LayerDecision:
    if isinstance(one, Dropped) or one.cached is None:
        return _decision(one, "dropped" if isinstance(one, Dropped) else "metadata")
    digest = _digest(one.cached.diff_id)
    if digest is None or not has(digest):
        return _decision(one, "dropped", DAMAGED)
    return _decision(one, "kept" if root and _proof(root, one.cached, _place(one)) else "unpacked")


def _decided(inputs: RestoreInputs) -> tuple[Wanted | Dropped, ...]:
    decided = decide(
        inputs.group,
        label=inputs.label,
        cache=inputs.cache,
        clear=inputs.clear,
        exec_env=inputs.exec_env,
        cached_launch=platform_features(inputs.platform_api).cached_launch,
    )
    # A hostile image is no reason to fail (RES-02).
    return tuple(one for one in decided if isinstance(one, Dropped) or _plain_name(one.name))


def _decision(one: Wanted | Dropped, action: Action, reason: str = "") -> LayerDecision:
    if isinstance(one, Dropped):
        return LayerDecision(buildpack=one.buildpack, name=one.name, action=action, reason=one.reason)
    back = one.cached.diff_id if one.cached and action in {"kept", "unpacked"} else ""
    return LayerDecision(buildpack=one.buildpack, name=one.name, action=action, reason=reason, diff_id=back)


def _proof(root: confined.Root, cached: CachedLayer, place: str) -> str:
    """The proof of a tree that is as it was when its digest was computed; "" for any other."""
    # What is below something other than a directory counts as absent.
    if not cached.tree or root.kind(os.path.dirname(place)) != "dir" or root.kind(place) != "dir":
        return ""
    try:
        proven = prove(os.path.join(root.path, place))
    except OSError as e:
        log.debug("%s cannot be proven: %s", place, e)
        return ""
    return proven if proven == cached.tree else ""


class _Restorer:
    def __init__(self, inputs: RestoreInputs, root: confined.Root, store: Blobs, reporter: Reporter) -> None:
        self.inputs = inputs
        self.root = root
        self.store = store
        self.reporter = reporter
        self.decisions: list[LayerDecision] = []
        self.proofs: dict[tuple[str, str], TreeProof] = {}
        self._inner = inputs.places.layers.strip("/")  # the layers directory in a layer's tar

    def run(self, decided: tuple[Wanted | Dropped, ...]) -> RestoreResult:
        wanted = [d for d in decided if isinstance(d, Wanted)]
        for one in wanted:
            self._keep(one)
        self._clear()
        for member in self.inputs.group:
            self._store_file(member)
        back = [one for one in wanted if self._tree(one)]
        for one in back:
            self._write(f"{_place(one)}.toml", toml.encode({"metadata": one.metadata}))
        self._sboms(back)
        for other in decided:
            if isinstance(other, Dropped):
                self._decided(other, "dropped")
        return RestoreResult(decisions=tuple(self.decisions), proofs=self.proofs)

    def _keep(self, one: Wanted) -> None:
        """Note the tree as proven if it is as it was when its digest was computed."""
        digest = _digest(one.cached.diff_id) if one.cached else None
        if one.cached is None or digest is None or not self.store.has(digest):
            return
        proven = _proof(self.root, one.cached, _place(one))
        if proven:
            self.proofs[one.buildpack, one.name] = TreeProof(
                diff_id=one.cached.diff_id, size=one.cached.size, tree=proven
            )

    def _clear(self) -> None:
        """Remove all but the proven trees."""
        keep = {_escaped(buildpack): set[str]() for buildpack, _ in self.proofs}
        for buildpack, name in self.proofs:
            keep[_escaped(buildpack)].add(name)
        mine = {_escaped(member.id) for member in self.inputs.group}
        for entry in self.root.names():
            if self.inputs.foreign and entry.name not in mine:
                continue
            if entry.name not in keep:
                self.root.remove(entry.name)
                continue
            for inner in self.root.names(entry.name):
                if inner.name not in keep[entry.name]:
                    self.root.remove(f"{entry.name}/{inner.name}")

    def _store_file(self, member: GroupMember) -> None:
        """store.toml comes from the image, and even when the cache was cleared (RES-08)."""
        record = record_of(self.inputs.label, member.id)
        self.root.makedirs(_escaped(member.id), owner=self.inputs.owner)
        if record and record.store:
            self._write(f"{_escaped(member.id)}/store.toml", toml.encode(record.store))

    def _tree(self, one: Wanted) -> bool:
        """Whether the layer is back: proven, unpacked, or one that needs no tree."""
        if one.cached is None:
            self._decided(one, "metadata")
            return True
        if (one.buildpack, one.name) in self.proofs:
            self._decided(one, "kept")
            return True
        place = _place(one)
        if not self._unpack(one.cached.diff_id, f"{self._inner}/{place}", place):
            self.reporter.emit(
                Warned(
                    text=f"the cached layer {one.name} of {one.buildpack} is not used: {DAMAGED}",
                    hint="it is made again; nothing needs to be done",
                )
            )
            self._decided(one, "dropped", DAMAGED)
            return False
        proven = prove(os.path.join(self.inputs.layers, place))
        self.proofs[one.buildpack, one.name] = TreeProof(diff_id=one.cached.diff_id, size=one.cached.size, tree=proven)
        self._decided(one, "unpacked")
        return True

    def _unpack(self, text: str, inner: str, place: str) -> bool:
        """Unpack a layer of the store beside, and move what it holds at `inner` to `place`."""
        from packrunner.images.extract import extract  # a build with nothing to unpack does not load it

        digest = _digest(text)
        if digest is None or not self.store.has(digest):
            return False
        self.root.makedirs(_STAGING, mode=0o700)
        try:
            with self.store.open(digest) as stream:
                extract(stream, os.path.join(self.inputs.layers, _STAGING), uid_gid=self.inputs.owner)
            if self.root.kind(f"{_STAGING}/{inner}") != "dir":
                return False
            self.root.rename(f"{_STAGING}/{inner}", place)
        except (CorruptError, UnsafeArchiveError) as e:
            log.warning("%s: %s", digest, e)
            return False
        finally:
            self.root.remove(_STAGING)
        return True

    def _sboms(self, back: list[Wanted]) -> None:
        """Bring the SBOMs of restored layers back: the cache's first, the image's over them (RES-16)."""
        sources = [("cache", self.inputs.cache.sbom), ("launch", self.inputs.label.sbom and self.inputs.label.sbom.sha)]
        if self.inputs.foreign:
            del sources[1]
        for scope, digest in sources:
            if not digest or not back:
                continue
            kept = f"{_STAGING}-{scope}"
            if self._unpack(digest, f"{self._inner}/sbom/{scope}", kept):
                for one in back:
                    self._copy_sboms(f"{kept}/{_escaped(one.buildpack)}/{one.name}", _place(one))
            self.root.remove(kept)
        if self.inputs.foreign:
            for one in back:
                self._copy_sboms(f"sbom/launch/{_escaped(one.buildpack)}/{one.name}", _place(one))
            self.root.remove("sbom")

    def _copy_sboms(self, source: str, place: str) -> None:
        for extension in _SBOM_EXTENSIONS:
            data = self.root.read(f"{source}/sbom.{extension}", limit=_SBOM_LIMIT)
            if data is not None:
                self._write(f"{place}.sbom.{extension}", data)

    def _write(self, rel: str, data: bytes) -> None:
        self.root.write(rel, data, owner=self.inputs.owner)

    def _decided(self, one: Wanted | Dropped, action: Action, reason: str = "") -> None:
        made = _decision(one, action, reason)
        self.decisions.append(made)
        if action == "dropped":
            self.reporter.emit(Noted(text=f"{one.buildpack}: {one.name} is not restored: {made.reason}"))


def _plain_name(name: str) -> bool:
    """Whether a label's layer name can be a path component; a hostile image is no reason to fail (RES-02)."""
    try:
        LayerName.parse(name)
    except UsageError:
        return False
    return True


def _digest(text: str) -> Digest | None:
    """A digest from a label or a cache, which others can write to."""
    try:
        return Digest.parse(text)
    except UsageError:
        return None


def _escaped(buildpack: str) -> str:
    return BuildpackId(buildpack).escaped


def _place(one: Wanted | Dropped) -> str:
    return f"{_escaped(one.buildpack)}/{one.name}"
