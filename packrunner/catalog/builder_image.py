"""An image that somebody made to be a builder: Paketo's, Heroku's, Google's, anyone's `pack builder create`.

What its labels say is taken from there; what they leave out from the files below /cnb, as the lifecycle reads them
(IMG-01 - IMG-13). Nothing of it is run to find out.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from packrunner.engines.base import User
from packrunner.errors import UsageError
from packrunner.formats import builder, toml
from packrunner.formats import run as runs
from packrunner.formats.api import highest_platform
from packrunner.formats.group import Order, System
from packrunner.formats.platform import RunTarget, fill_distro
from packrunner.images.reference import Reference
from packrunner.images.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from packrunner.catalog.carried import Carried
    from packrunner.formats.run import RunImageEntry
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.names import Digest

_BUILD_CONFIG = "/cnb/build-config/env"
_VALUE_LIMIT = 128 << 10
_HOME = "/home/cnb"


class ImageBuilder:
    """The builder in `image`, called `reference`; the caller keeps the image's blobs in the store.

    `find` gives an image by its name and raises UsageError (`unknown-image`) where there is none; `records` is the
    directory of what is known of such images, "" for none.
    Raises UsageError (`not-a-builder`) for an image that does not say who builds (IMG-01), PlatformApiError.
    """

    def __init__(
        self,
        image: Image,
        *,
        reference: str,
        snapshots: Snapshots,
        find: Callable[[str], Image],
        images: tuple[str, ...] = (),
        watched: tuple[str, ...] = (),
        records: str = "",
    ) -> None:
        self.image = image
        self.reference = reference
        self.watched = watched
        self._named = images
        self._snapshots = snapshots
        self._find = find
        self._records = records
        self._rootfs: tuple[str, ...] = ()
        self._files: View | None = None
        self._carried: Carried | None = None
        self.metadata = builder.read_metadata(image.labels, where=reference) or builder.Metadata()
        self.ids = _ids(image, reference)

    @property
    def digest(self) -> Digest:
        """The image's digest."""
        return self.image.digest

    @property
    def full_reference(self) -> str:
        """For people and records: the reference and the beginning of the digest."""
        return f"{self.reference}@{self.image.digest.short}"

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self.image.labels

    @property
    def build_env(self) -> Mapping[str, str]:
        """The image's own environment (IMG-02)."""
        return dict(self.image.env)

    @cached_property
    def user(self) -> User:
        """Who builds: numbers from the environment, name and home from the image's /etc/passwd (DET-05)."""
        uid, gid = self.ids
        for line in (self.files.read("/etc/passwd") or b"").decode(errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) == 7 and fields[2] == str(uid):
                home = fields[5] if _is_home(fields[5]) else _HOME
                return User(uid=uid, gid=gid, home=home, name=fields[0] or "cnb")
        return User(uid=uid, gid=gid, home=_HOME)

    @cached_property
    def operator(self) -> Mapping[str, bytes]:
        """The operator's files (IMG-08, DET-09)."""
        found = {}
        for name in self.files.names(_BUILD_CONFIG):
            path = f"{_BUILD_CONFIG}/{name}"
            value = self.files.read(path, limit=_VALUE_LIMIT) if self.files.kind(path) == "file" else None
            if value is None or "=" in name:
                continue
            if b"\0" in value:
                raise UsageError(
                    f"{name} in {self.reference} has a NUL byte, which no variable can hold", slug="env-file", at=path
                )
            found[name] = value
        return found

    @cached_property
    def target(self) -> RunTarget:
        """The platform of the build image; the distribution from its labels, else from /etc/os-release (TGT-07)."""
        image = self.image
        name, version = (image.labels.get(f"io.buildpacks.base.distro.{part}", "") for part in ("name", "version"))
        found = RunTarget(image.os, image.architecture, image.variant, name, version)
        return found if name and version else fill_distro(found, self.files.read("/etc/os-release") or b"")

    @cached_property
    def platform_api(self) -> str:
        """The highest level that the builder's lifecycle and packrunner have. Raises PlatformApiError (IMG-13)."""
        lifecycle = self.metadata.lifecycle
        if not (lifecycle.apis.platform.all or lifecycle.api.platform):
            path = "/cnb/lifecycle/lifecycle.toml"
            data = self.files.read(path)
            if data is not None:
                lifecycle = builder.read_lifecycle_file(data, where=f"{self.reference}:{path}")
        single = (lifecycle.api.platform,) if lifecycle.api.platform else ()
        return highest_platform(lifecycle.apis.platform.all or single, of=self.reference)

    @cached_property
    def run_images(self) -> tuple[RunImageEntry, ...]:
        """The run images that it names (IMG-07)."""
        if self.metadata.run_images:
            return self.metadata.run_images
        for path, read in (("/cnb/run.toml", runs.read), ("/cnb/stack.toml", runs.read_stack)):
            data = self.files.read(path)
            if data is not None:
                found = tuple(one for one in read(data, where=f"{self.reference}:{path}").images if one.image)
                if found:
                    return found
        return ()

    @property
    def images(self) -> tuple[str, ...]:
        """Its own name in the store, and the names of its run images."""
        return (*self._named, *(name for entry in self.run_images for name in entry.names))

    @property
    def carried(self) -> Carried:
        """Its buildpacks, extensions and their order."""
        if self._carried is None:
            from packrunner.catalog.carried import Carried
            from packrunner.catalog.memory import Memory

            self._carried = Carried(
                self.files,
                Memory.of(self._records, self.image.digest),
                builder=self.reference,
                order=self.order,
                system=self.system,
                names=tuple(dict.fromkeys(b.id for b in self.metadata.buildpacks or () if b.id)),
            )
        return self._carried

    @property
    def files(self) -> View:
        """The files of the build image, unpacked now where they are not yet."""
        if self._files is None:
            self._files = View(self.build_rootfs())
        return self._files

    def find_run_image(self, name: str) -> Image | None:
        """A run image by name; None where it is not to be had. A builder names no files of this machine."""
        try:
            Reference.parse(name)
            return self._find(name)
        except UsageError as error:
            if error.slug not in {"unknown-image", "name"}:
                raise
            return None

    def build_rootfs(self) -> tuple[str, ...]:
        """The trees of the build image; they stay as long as the snapshots are open."""
        self._rootfs = self._rootfs or self._snapshots.lowers(self.image)
        return self._rootfs

    def check(self, architecture: str) -> None:
        """Refuse it before anything of it is unpacked. Raises UsageError (`builder-platform`), PlatformApiError."""
        if (self.image.os, self.image.architecture) != ("linux", architecture):
            raise UsageError(
                f"{self.reference} is a builder for {self.image.os}/{self.image.architecture}",
                slug="builder-platform",
                cause=f"its buildpacks are programs, and this machine is linux/{architecture}",
                tries=("--builder with an image for this platform",),
            )
        if self.metadata.lifecycle.apis.platform.all or self.metadata.lifecycle.api.platform:
            _ = self.platform_api

    def close(self) -> None:
        """Let go of the files."""
        if self._carried is not None:
            self._carried.keep()
        if self._files is not None:
            self._files.close()
            self._files = None

    @property
    def is_told(self) -> bool:
        """Whether labels say everything but system buildpacks, of which pack says nothing where there are none."""
        about, labels = self.metadata, self.labels
        distro = all(labels.get(f"io.buildpacks.base.distro.{part}") for part in ("name", "version"))
        lifecycle = about.lifecycle.apis.platform.all or about.lifecycle.api.platform
        return bool(distro and lifecycle and about.buildpacks and about.run_images and labels.get(builder.ORDER))

    @cached_property
    def order(self) -> Order:
        """The order of its buildpacks and that of its extensions (IMG-05, IMG-10)."""
        where = self.reference
        order = builder.read_order(self.labels, where=where)
        extensions = builder.read_order(self.labels, where=where, key=builder.ORDER_EXTENSIONS)
        if order is not None:
            return Order(order=order, order_extensions=extensions or ())
        path = "/cnb/order.toml"
        data = self.files.read(path)
        return toml.decode(data, Order, where=f"{where}:{path}", error=UsageError) if data is not None else Order()

    @cached_property
    def system(self) -> System:
        """Its system buildpacks (IMG-08, IMG-10)."""
        system = builder.read_system(self.labels, where=self.reference)
        if system is not None:
            return System(system=system)
        path = "/cnb/system.toml"
        data = self.files.read(path)
        if data is None:
            return System()
        return toml.decode(data, System, where=f"{self.reference}:{path}", error=UsageError)


def _ids(image: Image, reference: str) -> tuple[int, int]:
    """CNB_USER_ID and CNB_GROUP_ID: who builds is no secret that could be guessed (IMG-01)."""
    found = {name: image.get_env(name) for name in ("CNB_USER_ID", "CNB_GROUP_ID")}
    wrong = [
        f"{name} is not set" if value is None else f"{name} is {value!r}"
        for name, value in found.items()
        if value is None or not _is_id(value)
    ]
    if wrong:
        raise UsageError(
            f"{reference} is not a builder",
            slug="not-a-builder",
            cause=f"{', '.join(wrong)} in its environment: numbers of an ordinary user and group say who builds",
            tries=("packrunner build --builder debian:13", "name the builder, and the run image with --run-image"),
        )
    uid, gid = (int(value) for value in found.values() if value)
    return uid, gid


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) < 2**31


def _is_home(path: str) -> bool:
    """Whether the sandbox can have a directory of its own there."""
    parts = path.split("/")
    return path.startswith("/") and path != "/" and "" not in parts[1:] and not {".", ".."} & set(parts)
