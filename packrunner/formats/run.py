"""run.toml, and stack.toml of platforms below 0.12: which run images there are (IMG-07)."""

from __future__ import annotations

import msgspec

from packrunner.errors import PackrunnerError, UsageError
from packrunner.formats import toml


class RunImageEntry(msgspec.Struct, frozen=True):
    """`[[images]]`: a run image and where else it can be had."""

    image: str = ""
    mirrors: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that means this image, the image itself first."""
        return (self.image, *self.mirrors)


class RunFile(msgspec.Struct, frozen=True):
    """run.toml; the first entry is the default."""

    images: tuple[RunImageEntry, ...] = ()


class _StackFile(msgspec.Struct, frozen=True, rename="kebab"):
    run_image: RunImageEntry = RunImageEntry()


def read(data: bytes, *, where: str, error: type[PackrunnerError] = UsageError) -> RunFile:
    """Read a run.toml."""
    return toml.decode(data, RunFile, where=where, error=error)


def read_stack(data: bytes, *, where: str, error: type[PackrunnerError] = UsageError) -> RunFile:
    """Read a stack.toml as if it were a run.toml of one image."""
    entry = toml.decode(data, _StackFile, where=where, error=error).run_image
    return RunFile(images=(entry,) if entry.image else ())
