"""`packrunner buildpack new`: a buildpack that works, with an application and tests, made from the templates beside.

    templates/common/                  README.md and tests/, for all languages
    templates/<language>/              buildpack.toml and the programs; `dot-` begins the names of hidden files
    templates/composite/ extension/    all of those

`{{name}}` is replaced in README.md and descriptors, everything else is copied as it is.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.catalog import builtin
from packrunner.catalog.check import kind_of, read_descriptor
from packrunner.disk import disk_error, temporary
from packrunner.errors import UsageError
from packrunner.formats import api, target
from packrunner.formats.buildpack import Target
from packrunner.formats.platform import default_target
from packrunner.names import BuildpackId
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Language = Literal["python", "shell", "go"]
Example = Literal[Language, "composite", "extension"]
API = api.BUILDPACK_APIS[-1]
VERSION = "0.1.0"

_OLDEST = (0, 9)
"""The API from which on commands are lists, as in the examples."""
_FILLED = frozenset({"README.md", "buildpack.toml", "extension.toml"})
_DOT = "dot-"
_ABOUT: Mapping[Example, str] = {
    "python": """\
`bin/detect` and `bin/build` are Python on packrunner's SDK. It is put into the buildpack when that is built with or
packaged, so the buildpack runs on every platform whose builder has Python 3.11 or newer.""",
    "shell": """\
`bin/detect` and `bin/build` are scripts for any POSIX shell, and run on every platform.""",
    "go": """\
`main.go` becomes `bin/detect` and `bin/build`, by `./make.sh`: one static program that needs nothing of its builder.
For another machine `GOARCH=arm64 ./make.sh`. The tests compile it first.""",
}


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A new buildpack: its files by relative path, and the program that has to be run before it works."""

    directory: str
    files: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    to_run: str = ""


def create(
    directory: str,
    *,
    identity: str,
    example: Example,
    version: str = VERSION,
    level: str = API,
    targets: Sequence[str] = (),
) -> Made:
    """Make the buildpack in `directory`, which must not be there or be empty; it appears whole or not at all.

    Raises UsageError: `buildpack-exists`, `name`, `buildpack-descriptor`, `usage`; StoreError.
    """
    identity = BuildpackId.parse(identity)
    _check_api(level)
    _check_free(directory)
    if example == "composite" and targets:
        raise UsageError("a composite has no targets of its own", slug="usage", tries=("leave out --target",))
    chosen = [target.read(text) for text in targets] or _default_targets(example)
    short = identity.rpartition("/")[2]
    values = {
        "id": identity,
        "short": short,
        "name": short.replace("-", " ").replace("_", " ").capitalize(),
        "version": version,
        "api": level,
        "targets": "\n\n".join(map(_table, chosen)),
        "about": _ABOUT.get(example, ""),
        **_builtin_versions(),
        "package": identity.lower(),
    }
    parent = os.path.dirname(os.path.abspath(directory))
    new = os.path.join(parent, temporary("new"))
    try:
        os.makedirs(parent, exist_ok=True)
        _copy(example, new, values)
        read_descriptor(new, shown=readable(directory), kind=kind_of(new))
        os.rename(new, directory)
    except OSError as error:
        raise disk_error(error, directory) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Made(
        directory=directory,
        files=tuple(sorted(_files(directory))),
        targets=tuple(chosen),
        to_run="make.sh" if example == "go" else "",
    )


def _default_targets(example: Example) -> list[Target]:
    """Scripts run anywhere, a program on what it was compiled for."""
    if example != "go":
        return [Target(os="linux", arch="amd64"), Target(os="linux", arch="arm64")]
    return [Target(os="linux", arch=default_target().arch)]


def _table(one: Target) -> str:
    lines = ["[[targets]]"]
    lines += [
        f'{key} = "{value}"' for key, value in (("os", one.os), ("arch", one.arch), ("variant", one.variant)) if value
    ]
    for distro in one.distros:
        lines += ["", "[[targets.distros]]", f'name = "{distro.name}"']
        lines += [f'version = "{distro.version}"'] if distro.version else []
    return "\n".join(lines)


def _check_api(level: str) -> None:
    good = [one for one in api.BUILDPACK_APIS if api.parse(one) >= _OLDEST]
    if level not in good:
        raise UsageError(
            f"the example cannot be for Buildpack API {level}",
            slug="usage",
            cause=f"it can be for {', '.join(good)}",
            tries=(f"--api {API}",),
        )


def _check_free(directory: str) -> None:
    try:
        taken = bool(os.listdir(directory))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        taken = True
    except OSError as error:
        raise disk_error(error, directory) from error
    if taken:
        raise UsageError(
            f"{readable(directory)} is there already",
            slug="buildpack-exists",
            cause="nothing is overwritten",
            tries=("packrunner buildpack new ID DIR, with another directory",),
        )


def _builtin_versions() -> dict[str, str]:
    """The versions of the built-in buildpacks, for orders that name them."""
    top = builtin.builtin_dir()
    found = [read_descriptor(os.path.join(top, name), shown=name).buildpack for name in builtin.short_names(top)]
    return {one.id: one.version for one in found}


def _copy(example: Example, new: str, values: Mapping[str, str]) -> None:
    templates = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
    for name in (example,) if example in {"composite", "extension"} else ("common", example):
        top = os.path.join(templates, name)
        for path in _files(top):
            hidden = [f".{one.removeprefix(_DOT)}" if one.startswith(_DOT) else one for one in path.split("/")]
            place = os.path.join(new, *hidden)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(os.path.join(top, path), "rb") as source:
                data = source.read()
            with open(place, "wb") as copy:
                copy.write(_filled(data, values) if path in _FILLED else data)
            if data.startswith(b"#!"):
                # Not every installer keeps the bit.
                os.chmod(place, os.stat(place).st_mode | 0o111)  # noqa: S103  it is a program


def _filled(data: bytes, values: Mapping[str, str]) -> bytes:
    text = data.decode()
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text.encode()


def _files(top: str) -> list[str]:
    """The relative paths of the files below a directory, without what compiled Python leaves there."""
    found = []
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name != "__pycache__")
        found += [os.path.relpath(os.path.join(directory, file), top) for file in sorted(files)]
    return found
