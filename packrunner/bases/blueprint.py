"""All images of one base: packrunner's own of a suite, or those that a team's builder.toml describes.

Packrunner's own build image is a tree that sandboxes are shown; a team's becomes an image, because its builder is one.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases.accounts import USER
from packrunner.bases.recipes import RECIPES, VARIANTS, Recipe, Suite, image_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.engines.base import User


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """What is in each image, and the names in the store of those that are images.

    `own` says that it is packrunner's. `places` says where each package was asked for, for messages.
    """

    suite: Suite
    images: Mapping[str, Recipe]
    names: Mapping[str, str]
    user: User = USER
    own: bool = False
    places: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def recipe(self) -> str:
        """What a team's lock is a lock of, in hexadecimal; "" for packrunner's own, whose recipes are in the code."""
        if self.own:
            return ""
        content = {
            "suite": self.suite.reference,
            "user": [self.user.name, self.user.uid, self.user.gid, self.user.home],
            "images": {
                image: [list(recipe.packages), recipe.essential, sorted(recipe.exclude)]
                for image, recipe in self.images.items()
            },
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """What its directory goes by: a team's has one for each recipe."""
        return self.suite.reference if self.own else f"{self.suite.reference}-{self.recipe[:12]}"


def own(suite: Suite) -> Blueprint:
    """Packrunner's own images of a suite."""
    names: dict[str, str] = {variant: image_name(suite, variant) for variant in VARIANTS}
    return Blueprint(suite=suite, images=RECIPES, names=names, own=True)
