"""Names of images and places for them, as they are typed: made whole, or refused."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from packrunner.errors import UsageError
from packrunner.names import ImageName, registry_of

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCATORS = ("oci", "oci-archive", "docker-archive")


def image_name(text: str) -> str:
    """A valid image name; raises UsageError, also for an output written in its place."""
    if text.partition(":")[0] in LOCATORS:
        raise UsageError(
            f"{text} is a place to write to, not a name for an image",
            slug="name",
            tries=(f"packrunner build --output {text}",),
        )
    return ImageName.parse(text)


def check_registries(names: Sequence[str]) -> None:
    """Raise UsageError, slug `tags`, for names in more than one registry: an image is pushed to one (RES-06)."""
    registries = sorted({registry_of(name) for name in names})
    if len(registries) > 1:
        raise UsageError(
            "an image cannot be pushed to several registries at once",
            slug="tags",
            cause=f"its names are on {', '.join(registries)}",
            tries=("push it again afterwards: packrunner push IMAGE NAME",),
        )


def name_of_directory(path: str) -> str:
    """A valid image name made from a directory's name."""
    name = re.sub(r"[^a-z0-9]+", "-", os.path.basename(path).lower()).strip("-")[:100].strip("-") or "app"
    return f"{name}-app" if name in LOCATORS else name


def locator(text: str, cwd: str) -> str:
    """An image to read: a name, or `oci:DIR` and its like with an absolute path."""
    kind, colon, path = text.partition(":")
    return f"{kind}:{os.path.normpath(os.path.join(cwd, path))}" if colon and kind in LOCATORS and path else text


def output(text: str, cwd: str) -> str:
    """A place to write an image to, with an absolute path; raises UsageError."""
    kind, _, path = text.partition(":")
    if kind not in LOCATORS or not path:
        raise UsageError(
            f"{text!r} is not a place to write an image to",
            slug="output",
            cause="an output is oci:DIR, oci-archive:FILE or docker-archive:FILE",
            tries=(f"--output oci:{text}" if text and kind not in LOCATORS else f"--output {kind or 'oci'}:image",),
        )
    return locator(text, cwd)
