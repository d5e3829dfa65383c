"""What must be right about a buildpack before anything of it runs: its descriptor, its id, its programs."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Literal

from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import buildpack, extension
from packrunner.formats.positions import place
from packrunner.names import BuildpackId
from packrunner.workspace import BUILDPACKS_DIR, EXTENSIONS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.formats.buildpack import BuildpackDescriptor

_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")
_ELF = b"\x7fELF"


Kind = Literal["buildpack", "extension"]
"""What a directory holds; also the name of its table in the file `<kind>.toml`."""

PLACES: dict[Kind, str] = {"buildpack": BUILDPACKS_DIR, "extension": EXTENSIONS_DIR}
"""Where each kind lies in a builder and in packages (IMG-04)."""


def place_of(kind: Kind, identity: str, version: str) -> str:
    """Where one of them lies."""
    return f"{PLACES[kind]}/{BuildpackId.parse(identity).escaped}/{version}"


def kind_of(directory: str) -> Kind:
    """What a directory holds, as far as its files tell."""
    return "extension" if os.path.isfile(os.path.join(directory, "extension.toml")) else "buildpack"


_READERS: dict[Kind, Callable[..., BuildpackDescriptor]] = {"buildpack": buildpack.read, "extension": extension.read}


def read_descriptor(root: str, *, shown: str, kind: Kind = "buildpack") -> BuildpackDescriptor:
    """Read and check `root`/<kind>.toml, called `shown`/<kind>.toml in messages (BPD-02 - BPD-04, EXT-01).

    Raises UsageError, slugs `toml`, `buildpack-descriptor` and `extension-order`, naming file and key;
    BuildpackApiError.
    """
    where = os.path.join(shown, f"{kind}.toml")
    path = os.path.join(root, f"{kind}.toml")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise disk_error(error, where) from error
    return parse_descriptor(data, where=where, kind=kind)


def parse_descriptor(data: bytes, *, where: str, kind: Kind = "buildpack", strict: bool = True) -> BuildpackDescriptor:
    """Check a descriptor that was read. Those that somebody else packaged may have any version: not `strict`."""
    try:
        descriptor = _READERS[kind](data, where=where)
    except UsageError as error:
        if error.slug != "name":
            raise
        at = place(data.decode(), f"{kind}.id", where)
        raise _wrong(error.brief, at, 'id = "your-name/what-it-builds"') from error
    _check(descriptor, data.decode(), where, kind, strict=strict)
    return descriptor


def _check(descriptor: BuildpackDescriptor, text: str, where: str, kind: Kind, *, strict: bool) -> None:
    version = descriptor.buildpack.version
    if strict and not _VERSION.fullmatch(version):
        brief = f"{version!r} is not a version" if version else "the version is missing"
        raise _wrong(
            f"{brief}: three numbers without leading zeros",
            place(text, f"{kind}.version", where),
            'version = "1.0.0"',
        )
    if descriptor.is_composite and (descriptor.targets or descriptor.stacks):
        key = "targets" if descriptor.targets else "stacks"
        raise _wrong(
            "a buildpack with an order stands for others and has no targets or stacks of its own",
            place(text, key, where),
            f"remove [[{key}]]",
        )
    for i, group in enumerate(descriptor.order):
        for j, ref in enumerate(group.group):
            try:
                BuildpackId.parse(ref.id)
            except UsageError as error:
                at = place(text, f"order[{i}].group[{j}].id", where)
                raise _wrong(error.brief, at, 'id = "name/of-it"') from error


def _wrong(brief: str, at: str, fix: str) -> UsageError:
    return UsageError(brief, slug="buildpack-descriptor", at=at, tries=(fix,))


def check_programs(root: str, *, shown: str, kind: Kind = "buildpack") -> None:
    """Refuse a buildpack or extension with a program that cannot be started; slug `buildpack-program`.

    The staged copy gives programs their executable bit, so what can be missing is the file, or how to run it. Of an
    extension both may be missing, for directories that hold their output (EXT-01, EXT-05).
    """
    for name in ("bin/detect", "bin/build") if kind == "buildpack" else ("bin/detect", "bin/generate"):
        at = os.path.join(shown, name)
        if kind == "extension" and not os.path.lexists(os.path.join(root, name)):
            continue
        try:
            with open(os.path.join(root, name), "rb") as file:
                first = file.readline(4096)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _program(f"{at} is missing", at, f"create {at}, starting with #!/bin/sh") from error
        except IsADirectoryError as error:
            raise _program(
                f"{at} is a directory, not a program", at, f"create {at}, starting with #!/bin/sh"
            ) from error
        except OSError as error:
            raise disk_error(error, at) from error
        if first.startswith(b"#!") and first.rstrip(b"\n").endswith(b"\r"):
            raise _program(
                f"{at} has Windows line ends, so its interpreter is not found", at, f"sed -i 's/\\r$//' {at}"
            )
        if not first.startswith((b"#!", _ELF)):
            raise _not_a_program(first, at)


def _not_a_program(first: bytes, at: str) -> UsageError:
    if first.startswith(BOM_UTF8):
        return _program(
            f"{at} begins with a byte order mark, so its interpreter is not found",
            at,
            f"sed -i '1s/^\\xef\\xbb\\xbf//' {at}",
        )
    what = "is not executable" if first else "is empty"
    return _program(f"{at} {what}", at, f"start it with a line like #!/bin/sh: {at}:1")


def _program(brief: str, at: str, fix: str) -> UsageError:
    return UsageError(brief, slug="buildpack-program", at=at, tries=(fix,))
