"""Names that cannot be wrong: each is made only by validating.

Digests follow the OCI image specification; buildpack ids, versions, layer names and process types follow the
Buildpack API (BPD-03, BLD-09, BLD-12).
"""

from __future__ import annotations

import re
from typing import Self

from packrunner.errors import UsageError


def canonical_image(name: str) -> str:
    """A name of an image with its registry and tag, without a digest: `index.docker.io/library/x:latest` for `x`."""
    text = name.partition("@")[0]
    registry, path = _registry(text)
    path = path if ":" in path.rpartition("/")[2] else f"{path}:latest"
    return f"{registry}/{path}"


def registry_of(name: str) -> str:
    """The registry that a name of an image means."""
    return _registry(name.partition("@")[0])[0]


def _registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ("index.docker.io" if first == "docker.io" else first), rest
    return "index.docker.io", text if slash else f"library/{text}"


class _Name(str):
    __slots__ = ()
    _pattern = re.compile("")
    _what = "name"
    _rule = ""
    _reserved: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Validate `text`; raises UsageError naming the rule that it breaks."""
        if not cls._pattern.fullmatch(text):
            raise UsageError(f"{text!r} is not a {cls._what}", slug="name", cause=f"it has to be {cls._rule}")
        if text in cls._reserved:
            raise UsageError(f"{text!r} is reserved and cannot be a {cls._what}", slug="name")
        return cls(text)


class Digest(_Name):
    """`sha256:` and 64 lower-case hexadecimal digits."""

    __slots__ = ()
    _pattern = re.compile(r"sha256:[0-9a-f]{64}")
    _what = "digest"
    _rule = "sha256: and 64 lower-case hexadecimal digits"

    @property
    def hex(self) -> str:
        """The hexadecimal part."""
        return self[7:]

    @property
    def short(self) -> str:
        """Twelve digits, for people."""
        return self[7:19]


class BuildpackId(_Name):
    """A buildpack or extension id, such as `packrunner/python`."""

    __slots__ = ()
    _pattern = re.compile(r"[A-Za-z0-9.-]+(/[A-Za-z0-9.-]+)*")
    _what = "buildpack id"
    _rule = "letters, digits, `.`, `-` and single `/`"
    _reserved = frozenset({"app", "config", "generated", "sbom", ".", ".."})

    @property
    def escaped(self) -> str:
        """The id as a directory name: `/` becomes `_`."""
        return self.replace("/", "_")


class LayerName(_Name):
    """The name of a layer: one path component that is none of the reserved files' names."""

    __slots__ = ()
    _pattern = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")
    _what = "layer name"
    _rule = "one path component of printable characters"
    _reserved = frozenset({"launch", "build", "store"})


class ProcessType(_Name):
    """The type of a launch process, such as `web`."""

    __slots__ = ()
    _pattern = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
    _what = "process type"
    _rule = "letters, digits, `.`, `_` and `-`"


_LABEL = "(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"


class ImageName(_Name):
    """The name of an image: `[registry[:port]/]path[:tag]`, lower case path, as the reference grammar has it."""

    __slots__ = ()
    _pattern = re.compile(
        # Sixty-four hexadecimal digits alone are an image's id to docker.
        r"(?![0-9a-f]{64}\Z)"
        rf"(?:(?:localhost|{_LABEL}(?:\.{_LABEL})+|\[[0-9a-fA-F:]+\]|{_LABEL}(?=:[0-9]+/))(?::[0-9]+)?/)?"
        r"(?=[^:]{1,255}(?::|\Z))[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
        r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    )
    _what = "name for an image"
    _rule = "lower-case letters, digits, single `.` `_` `-` between them, parts divided by `/`, then an optional `:tag`"

    @property
    def tagged(self) -> str:
        """The name with its tag; `:latest` where none was given."""
        return str(self) if ":" in self.rpartition("/")[2] else f"{self}:latest"
