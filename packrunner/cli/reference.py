"""Images as they are named on the command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner.errors import UsageError
from packrunner.lifecycle.image_names import LOCATORS, locator

if TYPE_CHECKING:
    from packrunner.cli.session import Session
    from packrunner.images.store import LocalStore, StoredImage


def plain(text: str) -> str:
    """What the store and transfer read: of `name@sha256:...`, as `build` prints it, the digest; absolute locators."""
    name, at, digest = text.partition("@")
    return digest if at and name and digest.startswith("sha256:") else locator(text, paths.working_directory())


def short(name: str) -> str:
    """A stored name for people: without `:latest`."""
    return name.removesuffix(":latest")


def find(text: str, store: LocalStore) -> StoredImage:
    """The image that `text` means, in the store or in a file. Raises UsageError with the nearest name."""
    wanted = plain(text)
    if wanted.partition(":")[0] in LOCATORS and "/" in wanted:
        from packrunner.images.store import StoredImage
        from packrunner.images.transfer import parse_locator, read_image

        image = read_image(parse_locator(wanted), store)
        return StoredImage(name=text, digest=image.digest, image=image, written_at=0.0)
    found = store.read(wanted)
    if found is None:
        raise unknown(text, store)
    return found


def looked_up(text: str, session: Session, insecure: tuple[str, ...], ca_certs: tuple[str, ...] = ()) -> StoredImage:
    """The image that a registry or a Docker engine has."""
    from packrunner import config
    from packrunner.images.store import StoredImage

    hosts = config.resolve("insecure-registry", flag=insecure, environ=session.environ).value
    image = session.services.look(text, insecure=hosts, ca_certs=ca_certs, reporter=session.renderer())
    return StoredImage(name=text, digest=image.digest, image=image, written_at=0.0)


def find_named(text: str, store: LocalStore) -> StoredImage:
    """An image that has a name to remove. Raises UsageError."""
    name, at, _ = text.partition("@")
    found = store.read(name if at and name else text)
    if found is None or not found.name:
        raise unknown(text, store)
    return found


def unknown(text: str, store: LocalStore) -> UsageError:
    """The error for an image that is not there."""
    names = [short(stored.name) for stored in store.list() if stored.name]
    near = get_close_matches(text, names, n=2)
    host, slash, _ = text.partition("/")
    elsewhere = (f"packrunner pull {text}",) if slash and ("." in host or ":" in host) else ()
    return UsageError(
        f"there is no image {text}",
        slug="unknown-image",
        cause=None if names else "the store has no images",
        tries=(*elsewhere, *near, "packrunner images") if names else elsewhere or (f"packrunner build {text}",),
    )
