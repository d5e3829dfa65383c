"""From a directory, and maybe a package.toml, to what goes into a package."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from packrunner.catalog.check import kind_of
from packrunner.catalog.locate import check_version, locate
from packrunner.catalog.package import Contents, full_name
from packrunner.catalog.places import Place, classify, seen_from
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import package
from packrunner.formats.positions import place
from packrunner.paths import readable

if TYPE_CHECKING:
    from packrunner.catalog.check import Kind
    from packrunner.catalog.stage import Stage, StagedBuildpack
    from packrunner.formats.package import PackageFile

FILE = "package.toml"

Packages = Callable[["Place"], "tuple[StagedBuildpack, ...]"]
"""Stages what is at a place that is no directory: the one that was meant, and what is packaged with it."""


def read_file(path: str) -> PackageFile:
    """Read a package.toml. Raises UsageError, slugs `toml` and `package`, naming file and key."""
    shown = readable(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "is a directory" if os.path.isdir(path) else "does not exist"
        raise _wrong(f"{shown} {what}", shown, "--config FILE") from error
    except OSError as error:
        raise disk_error(error, shown) from error
    found = package.read_package_file(data, where=shown)
    text = data.decode()
    if bool(found.buildpack.uri) == bool(found.extension.uri):
        both = "names a buildpack and an extension" if found.buildpack.uri else "names no buildpack"
        raise _wrong(f"{shown} {both}", shown, '[buildpack] with uri = "."')
    if found.platform.os != "linux":
        at = place(text, "platform.os", shown)
        raise _wrong(f"{shown} asks for {found.platform.os}: packages are made for linux", at, 'os = "linux"')
    for i, one in enumerate(found.dependencies):
        if bool(one.uri) == bool(one.image):
            at = place(text, f"dependencies[{i}]", shown)
            raise _wrong(f"{shown}: a dependency has either a `uri` or an `image`", at, 'uri = "../other"')
    return found


def gather(
    directory: str,
    config: str | None,
    *,
    stage: Stage,
    builtin_dir: str,
    packaged: Packages,
    flat: bool = False,
    apart: frozenset[str] = frozenset(),
) -> Contents:
    """What goes into the package of the buildpack or extension in `directory`, or that `config` names.

    Raises UsageError (`package`, and what locating and staging raise).
    """
    if config is None and os.path.isfile(os.path.join(directory, FILE)):
        config = os.path.join(directory, FILE)
    file = read_file(config) if config else None
    home = os.path.dirname(os.path.abspath(config)) if config else directory
    source = _entry(file, home) if file else os.path.realpath(directory)
    entry = stage.add(_directory(source), kind_of(source))
    others: dict[str, StagedBuildpack] = {}
    for number, one in enumerate(file.dependencies if file else ()):
        found = located(one.uri, one.image, home, stage=stage, builtin_dir=builtin_dir, packaged=packaged)
        for staged in found:
            twin = others.setdefault(full_name(staged), staged)
            if twin.digest != staged.digest:
                raise UsageError(
                    f"two different buildpacks call themselves {full_name(staged)}",
                    slug="package",
                    cause=f"{readable(twin.source)} and {readable(staged.source)}",
                    at=line(str(config), f"dependencies[{number}]"),
                    tries=("give one of them another version",),
                )
    others.pop(full_name(entry), None)
    return Contents(entry=entry, others=tuple(others.values()), flat=flat, apart=apart)


def line(path: str, key: str) -> str:
    """Where a key is in a file that was read before."""
    shown = readable(path)
    try:
        with open(path, encoding="utf-8") as file:
            return place(file.read(), key, shown)
    except OSError as error:
        raise disk_error(error, shown) from error


def dependencies(directory: str) -> tuple[Place, ...]:
    """Where the package.toml of the buildpack in `directory` says that what it needs is; none without such a file."""
    path = os.path.join(directory, FILE)
    file = read_file(path) if os.path.isfile(path) else None
    if file is None or _entry(file, directory) != os.path.realpath(directory):
        return ()
    return tuple(place_of(one.uri, one.image, directory) for one in file.dependencies)


def _entry(file: PackageFile, home: str) -> str:
    uri = file.buildpack.uri or file.extension.uri
    return os.path.realpath(os.path.join(home, uri.removeprefix("file://")))


def located(
    uri: str,
    image: str,
    home: str,
    *,
    stage: Stage,
    builtin_dir: str,
    packaged: Packages,
    kind: Kind = "buildpack",
) -> tuple[StagedBuildpack, ...]:
    """What a table of package.toml or builder.toml names, the one that was meant first; paths are from `home`."""
    place = place_of(uri, image, home)
    if place.kind == "directory":
        return (stage.add(place.path, kind),)
    if place.kind != "name":
        return packaged(place)
    found = locate(place.path, builtin_dir=builtin_dir)
    staged = stage.add(found.source)
    check_version(found, staged.version)
    return (staged,)


def place_of(uri: str, image: str, home: str) -> Place:
    """The place that a table of package.toml or builder.toml names: of a directory, the absolute path."""
    if image:
        return classify(f"docker://{image}")
    path = seen_from(uri, home)
    if os.path.isdir(path):
        return Place(kind="directory", text=uri, path=_directory(os.path.realpath(path)))
    if "/" not in path[:1] or os.path.isfile(path):
        return classify(path)
    # A name of something built in; or a path of nothing.
    place = classify(uri)
    if place.kind == "directory":
        _directory(path)
    return place


def _directory(source: str) -> str:
    if os.path.isfile(os.path.join(source, f"{kind_of(source)}.toml")):
        return source
    there = os.path.isdir(source)
    raise UsageError(
        f"{readable(source)} holds no buildpack.toml" if there else f"there is no directory {readable(source)}",
        slug="unknown-buildpack",
        tries=("--path DIR, for the directory that holds buildpack.toml",),
    )


def _wrong(brief: str, at: str, fix: str) -> UsageError:
    return UsageError(brief, slug="package", at=at, tries=(fix,))
