"""Image references as registries have them: registry, repository, and a tag or a digest (EXP-35, RBS-03)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from packrunner.errors import UsageError
from packrunner.names import Digest, ImageName

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCKER_HUB = "index.docker.io"
_ALIASES = frozenset({"docker.io", "registry-1.docker.io"})


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An image somewhere; `digest` is "" unless the reference is fixed by one."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[registry/]repository[:tag][@digest]`; raises UsageError, slug `name`."""
        name, at, digest = text.partition("@")
        ImageName.parse(name)
        if at:
            Digest.parse(digest)
        first, slash, rest = name.partition("/")
        has_registry = bool(slash) and (first == "localhost" or "." in first or ":" in first)
        # Hosts are the same in any case; a login for one must be found for the other.
        registry, path = (first.lower(), rest) if has_registry else (DOCKER_HUB, name)
        if registry in _ALIASES:
            registry = DOCKER_HUB
        repository, _, tag = path.partition(":")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry=registry, repository=repository, tag=tag or "latest", digest=digest)

    @property
    def identifier(self) -> str:
        """What chooses among the repository's images."""
        return self.digest or self.tag

    @property
    def without_digest(self) -> str:
        """The whole name with its tag, whatever it is fixed by: equal for references to one image (RBS-03)."""
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def layout_path(self) -> str:
        """Where the image is below a directory of layouts (EXP-35)."""
        return "/".join((self.registry, self.repository, *self.identifier.split(":")))


def nearest(names: Iterable[str], output: str) -> list[str]:
    """Names of one image: those on the registry of `output` first, else in their order (RES-05)."""
    registry = Reference.parse(output).registry
    return sorted(names, key=lambda name: not _is_on(registry, name))


def _is_on(registry: str, name: str) -> bool:
    try:
        return Reference.parse(name).registry == registry
    except UsageError:
        return False


def same_image(one: str, other: str) -> bool:
    """Whether two references mean one image, digests aside; what is no reference is compared as it stands."""
    return normal(one) == normal(other)


def normal(text: str) -> str:
    """The full name of an image without its digest; what is no reference stays as it is."""
    try:
        return Reference.parse(text).without_digest
    except UsageError:
        return text
