"""Images into the store from layouts and archives, and out of it into them; by `oci:DIR` and its like.

What was read is in the store with its original bytes, so everything later works from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from packrunner.images.image import Image
    from packrunner.images.manifest import PlatformFile
    from packrunner.images.several import Several
    from packrunner.images.store import LocalStore

Kind = Literal["store", "oci", "oci-archive", "docker-archive"]


class Locator(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image is: a path and, where one was given, the tag to choose or write.

    For kind "store", `path` is the name, digest or beginning of a digest.
    """

    kind: Kind
    path: str
    tag: str = ""


def parse_locator(text: str) -> Locator:
    """Read `oci:DIR[:tag]`, `oci-archive:FILE[:tag]`, `docker-archive:FILE[:name[:tag]]`, or else a name in the store.

    Raises UsageError (`locator`) where the path is missing.
    """
    kind, colon, rest = text.partition(":")
    if not colon:
        return Locator(kind="store", path=text)
    match kind:
        case "oci" | "oci-archive" | "docker-archive":
            # A tag has no slash, except in Docker's form, where it is a name: after the last component of the path.
            directory, slash, last = rest.rpartition("/")
            path, _, tag = last.partition(":")
            if kind == "docker-archive" and ":" in directory:
                directory, _, above = directory.partition(":")
                path, tag = "", above + slash + last
                slash = ""
            found = directory + slash + path
            if not found or "\0" in found:
                raise UsageError(
                    f"{text!r} names no {'directory' if kind == 'oci' else 'file'}",
                    slug="locator",
                    tries=(f"{kind}:./image",),
                )
            return Locator(kind=kind, path=found, tag=tag)
        case _:
            return Locator(kind="store", path=text)


def read_image(locator: Locator, store: LocalStore, platform: PlatformFile | None = None) -> Image:
    """The image at `locator`, its blobs in the store; hold `store.lease()` until it is used or has a name.

    Of those for several platforms it is that for `platform`, this machine's unless given.

    Raises UsageError (`unknown-image`) where there is none, CorruptError (`image-format`, `store-corrupt`, and those of
    archives) for bytes that are not what they should be, StoreError.
    """
    match locator.kind:
        case "store":
            found = store.read(locator.path, platform)
            if found is None:
                raise _unknown(locator.path)
            return found.image
        case "oci":
            from packrunner.images.layout import read_layout

            return read_layout(locator.path, locator.tag, store, platform)
        case "oci-archive":
            from packrunner.images.archive import read_oci_archive

            return read_oci_archive(locator.path, locator.tag, store, platform)
        case "docker-archive":
            from packrunner.images.archive import read_docker_archive

            return read_docker_archive(locator.path, locator.tag, store)


def read_all(locator: Locator, store: LocalStore) -> Image | Several:
    """What is at `locator` for every platform; of layouts and archives nothing is copied into the store.

    Raises what `read_image` raises.
    """
    match locator.kind:
        case "store":
            found = store.read_all(locator.path)
            if found is None:
                raise _unknown(locator.path)
            return found
        case "oci":
            from packrunner.images.layout import directory, parse_all

            return parse_all(directory(locator.path), locator.tag)
        case "oci-archive":
            from packrunner.images.layout import parse_all
            from packrunner.images.tarfiles import Archive

            with Archive(locator.path) as archive:
                return parse_all(archive, locator.tag)
        case "docker-archive":
            return read_image(locator, store)


def write_output(locator: Locator, image: Image | Several, store: LocalStore, name: str) -> None:
    """Put the image, whose layers are in the store, at `locator`; `name` is what it is called there.

    Images for several platforms go anywhere but into Docker's archives: UsageError (`one-platform`).

    A directory that is no image layout, and a file that is no tar archive, are never replaced: UsageError
    (`output-exists`). Readers see the old image or the new one, nothing between.
    """
    match locator.kind:
        case "store":
            store.write(image, [locator.path])
        case "oci":
            from packrunner.images.layout_write import write_layout

            write_layout(locator.path, image, store, locator.tag or _tag(name))
        case "oci-archive":
            from packrunner.images.archive import write_oci_archive

            write_oci_archive(locator.path, image, store, locator.tag or _tag(name))
        case "docker-archive":
            from packrunner.images.archive import write_docker_archive
            from packrunner.images.several import Several

            if isinstance(image, Several):
                raise UsageError(
                    f"{locator.path} takes an image for one platform",
                    slug="one-platform",
                    cause="archives for docker load know no others",
                    tries=(f"oci-archive:{locator.path}", "--target, once"),
                )
            write_docker_archive(locator.path, image, store, locator.tag or name)


def _unknown(path: str) -> UsageError:
    return UsageError(f"there is no image {path} in the store", slug="unknown-image", tries=("packrunner images",))


def replace_image(locator: Locator, image: Image, store: LocalStore) -> None:
    """Put the image where another one is, under the same names. Other tags of a layout stay.

    Raises UsageError: as `write_output`, and `image-shared` where other images would be lost.
    """
    match locator.kind:
        case "store":
            store.write(image, [locator.path])
        case "oci":
            from packrunner.images.layout import Directory, tag_to_replace
            from packrunner.images.layout_write import write_layout

            tag = tag_to_replace(Directory(locator.path), locator.tag, others_stay=True)
            write_layout(locator.path, image, store, tag)
        case "oci-archive":
            from packrunner.images.archive import replace_oci_archive

            replace_oci_archive(locator.path, image, store, locator.tag)
        case "docker-archive":
            from packrunner.images.archive import replace_docker_archive

            replace_docker_archive(locator.path, image, store, locator.tag)


def _tag(name: str) -> str:
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or "latest"
