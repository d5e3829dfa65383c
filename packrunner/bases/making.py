"""Making the trees of a lock: fetch, unpack, fix up, byte-compile; then a snapshot, or an image in the store.

Everything happens in a directory of its own and is renamed when it is complete. What a killed run left is removed by
the next one, which holds the same lock; downloads are continued.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases import bytecode, download, fixups, marker, resolving, scripts, unpack
from packrunner.bases.recipes import PATH
from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.events import StepProgress, Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packrunner.bases.apt_sources import Archives
    from packrunner.bases.blueprint import Blueprint
    from packrunner.bases.download import Network
    from packrunner.bases.lock import Lock, LockedPackage
    from packrunner.engines.base import Engine
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore

_LOG = logging.getLogger(__name__)
_SCRATCH = "making-"


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the images of one lock in `home`. The caller holds the lock that makes this the only process there."""

    home: str
    downloads: str
    blueprint: Blueprint
    lock: Lock
    store: LocalStore
    snapshots: Snapshots
    engine: Engine
    reporter: Reporter
    threads: int

    def fetch(self, images: Sequence[str], reach: Callable[[], tuple[Archives, Network]]) -> tuple[int, int]:
        """Download what is missing of the images' packages; says how many packages, and bytes, they all are.

        `reach` is called only when something is missing: with all packages kept, no network is needed (NET-01).
        """
        packages = self.lock.of(*images)
        total = sum(package.size for package in packages)
        missing = [one for one in packages if not download.is_whole(self.downloads, one.sha256, one.size)]
        kept = len(packages) - len(missing)
        kept_bytes = total - sum(package.size for package in missing)

        def progress(files: int, done: int) -> None:
            detail = f"{kept + files} of {len(packages)} packages"
            self.reporter.emit(StepProgress(detail=detail, done=kept_bytes + done, total=total))

        if missing:
            archives, network = reach()
            download.fetch(resolving.wanted(missing, archives), self.downloads, network, progress)
        return len(packages), total

    def make(self, image: str) -> None:
        """Make one image and mark it as ready."""
        began = time.monotonic()
        self.remove_leftovers()
        work = os.path.join(self.home, f"{_SCRATCH}{os.urandom(4).hex()}")
        tree = os.path.join(work, "tree")
        try:
            os.makedirs(tree, mode=0o755)
            os.mkdir(os.path.join(work, "scratch"), mode=0o700)
            os.chmod(work, 0o700)
        except OSError as error:
            raise disk_error(error, work) from error
        owners = self._fill(image, tree, os.path.join(work, "scratch"))
        if image in self.blueprint.names:
            self._publish_image(image, tree, owners)
        else:
            self._publish_tree(tree)
        self.remove_leftovers()
        _LOG.debug("made %s of %s in %.2f s", image, self.lock.reference, time.monotonic() - began)

    def _fill(self, image: str, tree: str, scratch: str) -> Mapping[str, tuple[int, int]]:
        packages = self.lock.of(image)
        began = time.monotonic()
        installed = self._unpack(image, packages, tree)
        newest = max(one.newest for one in installed)
        unpacked = time.monotonic()
        links = {} if self.blueprint.own else self._scripts(image, installed)
        owners = fixups.fix_up(tree, installed, user=self.blueprint.user, newest=newest, links=links)
        fixed = time.monotonic()
        self.reporter.emit(StepProgress(detail=f"byte-compiling {image}"))
        bytecode.compile_python(tree, scratch, self.engine, newest=newest)
        compiled = time.monotonic()
        try:
            unpack.finish(tree, installed, newest=newest)
        except OSError as error:
            raise disk_error(error, tree) from error
        _LOG.debug(
            "%s: unpacked in %.2f s, fixed up in %.2f s, byte-compiled in %.2f s",
            *(image, unpacked - began, fixed - unpacked, compiled - fixed),
        )
        return owners

    def _scripts(self, image: str, installed: Sequence[unpack.Installed]) -> Mapping[str, str]:
        """The links that packages' scripts would make; what else they would do is said."""
        postinsts = {one.name: one.control.get("postinst", b"") for one in installed}
        missing = {name: what for name, text in postinsts.items() if (what := scripts.undone(text))}
        if missing:
            told = ", ".join(f"{name} ({' and '.join(what)})" for name, what in sorted(missing.items()))
            self.reporter.emit(
                Warned(
                    text=f"{image}: what these packages' scripts would make is missing: {told}",
                    hint="a buildpack can make links; applications have no other account than the recipe's",
                )
            )
        return scripts.links(postinsts.values())

    def _unpack(self, image: str, packages: Sequence[LockedPackage], tree: str) -> list[unpack.Installed]:
        total = sum(package.size for package in packages)
        done: list[int] = []

        def progress(size: int) -> None:
            done.append(size)
            self.reporter.emit(StepProgress(detail=f"unpacking {image}", done=sum(done), total=total))

        sources = [
            unpack.Source(name=package.name, path=os.path.join(self.downloads, package.sha256), size=package.size)
            for package in packages
        ]
        return unpack.unpack(sources, tree, done=progress, threads=self.threads)

    def _publish_tree(self, tree: str) -> None:
        final = marker.tree_path(self.home, self.lock.digest)
        try:
            _sync(tree)
            os.makedirs(os.path.dirname(final), mode=0o700, exist_ok=True)
            if os.path.lexists(final):  # damaged, or of a run killed before it was marked
                os.rename(final, os.path.join(os.path.dirname(os.path.dirname(tree)), f"{_SCRATCH}old"))
            os.rename(tree, final)
        except OSError as error:
            raise disk_error(error, final) from error
        marker.write(self.home, self.lock.digest, "build", {"top": marker.top_fingerprint(final)})

    def _publish_image(self, image: str, tree: str, owners: Mapping[str, tuple[int, int]]) -> None:
        from packrunner.images.layer import Tree, write_layer

        self.reporter.emit(StepProgress(detail=f"storing {image}"))
        created_by = f"packrunner: {self.lock.reference} {image} from {len(self.lock.images[image])} Debian packages"
        with self.store.lease():
            written = write_layer(
                self.store, [Tree(source=tree, target="/", uid=0, gid=0, owners=owners)], created_by=created_by
            )
            self.snapshots.adopt(written.layer.diff_id, tree)
            value = described(self.blueprint, self.lock, image).with_layers(written.layer)
            digest = self.store.write(value, [self.blueprint.names[image]])
        marker.write(self.home, self.lock.digest, image, {"image": digest})

    def remove_leftovers(self) -> None:
        """Remove what runs that were killed left unfinished."""
        with Root.open(self.home) as home:
            for entry in home.names():
                if entry.name.startswith(_SCRATCH):
                    home.remove(entry.name)


def described(blueprint: Blueprint, lock: Lock, image: str) -> Image:
    """An image's configuration, without layers (IMG-01 - IMG-03)."""
    from packrunner.images.image import Image

    suite, user = blueprint.suite, blueprint.user
    builds = (("CNB_GROUP_ID", str(user.gid)), ("CNB_USER_ID", str(user.uid))) if image == "build" else ()
    # Of names it knows nothing: two builders of one recipe have equal images.
    identity = (f"io.packrunner.debian.{suite.version}", blueprint.recipe[:12], image)
    return Image(
        architecture=lock.architecture,
        env=(*builds, ("PATH", PATH)),
        user=f"{user.uid}:{user.gid}",
        working_dir="/",
        labels={
            "io.buildpacks.base.distro.name": "debian",
            "io.buildpacks.base.distro.version": suite.version,
            "io.buildpacks.base.id": ".".join(filter(None, identity)),
            "io.buildpacks.base.description": f"Debian {suite.version} ({suite.codename}), {image}",
            "io.packrunner.base": f"{lock.reference}@{lock.digest.short}",
        },
    )


def _sync(path: str) -> None:
    """Put a whole tree on the disk before it is said to be complete: one call, not one a file (STO-02)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(fd)
