"""Images in and out of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packrunner.images.image import Image
from packrunner.images.store import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Where an image is: `oci:DIR[:tag]`, `oci-archive:FILE[:tag]`, `docker-archive:FILE[:name:tag]`, else a name in the store."""

    kind: Literal["store", "oci", "oci-archive", "docker-archive"]
    path: str  # for "store": the name, digest or prefix
    tag: str = ""


def parse_locator(text: str) -> Locator:
    raise NotImplementedError


def read_image(locator: Locator, store: LocalStore) -> Image:
    raise NotImplementedError


def write_output(locator: Locator, image: Image, store: LocalStore, name: str) -> None:
    raise NotImplementedError
