"""From a builder.toml to everything that goes into the builder, staged and checked."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from packrunner.catalog import archives
from packrunner.catalog.create import LifecycleFiles
from packrunner.catalog.package import full_name
from packrunner.catalog.packing import line, located
from packrunner.catalog.places import classify
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import builder_file
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.catalog.check import Kind
    from packrunner.catalog.packing import Packages
    from packrunner.catalog.places import Place
    from packrunner.catalog.stage import Stage, StagedBuildpack
    from packrunner.formats.builder_file import BuilderFile, Lifecycle, Module

_RELEASES = "https://github.com/buildpacks/lifecycle/releases/download"
_ARCHITECTURES = {"amd64": "x86-64", "arm64": "arm64"}
_LIMIT = 1 << 20


def read_file(path: str) -> BuilderFile:
    """Read a builder.toml. Raises UsageError, naming file and key."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "is a directory" if os.path.isdir(path) else "does not exist"
        raise UsageError(f"{readable(path)} {what}", slug="builder-file", tries=("--config FILE",)) from error
    except OSError as error:
        raise disk_error(error, readable(path)) from error
    return builder_file.read(data, where=readable(path))


def lock_file(path: str) -> str:
    """The lock beside a builder.toml, whether it exists or not: builder.lock."""
    return f"{path.removesuffix('.toml')}.lock"


def stage_modules(
    file: BuilderFile, path: str, *, stage: Stage, builtin_dir: str, packaged: Packages
) -> tuple[StagedBuildpack, ...]:
    """Every buildpack and extension that the file, which is at `path`, names; packages bring theirs along.

    Raises UsageError (`builder-file`, and what locating and staging raise).
    """
    home = os.path.dirname(os.path.abspath(path))
    found: dict[str, StagedBuildpack] = {}
    kinds: tuple[tuple[Kind, tuple[Module, ...]], ...] = (
        ("buildpack", file.buildpacks),
        ("extension", file.extensions),
    )
    for kind, modules in kinds:
        for number, module in enumerate(modules):
            staged = located(
                module.uri, module.image, home, stage=stage, builtin_dir=builtin_dir, packaged=packaged, kind=kind
            )
            _check(module, staged[0], kind, path, f"{kind}s[{number}]")
            for one in staged:
                twin = found.setdefault(f"{one.kind} {full_name(one)}", one)
                if twin.digest != one.digest:
                    raise UsageError(
                        f"two different {kind}s call themselves {full_name(one)}",
                        slug="builder-file",
                        cause=f"{readable(twin.source)} and {readable(one.source)}",
                        at=line(path, f"{kind}s[{number}]"),
                        tries=("give one of them another version",),
                    )
    return tuple(found.values())


def _check(module: Module, staged: StagedBuildpack, kind: Kind, path: str, key: str) -> None:
    """Refuse another one than the file says that it is."""
    if staged.kind != kind:
        raise _wrong(f"{full_name(staged)} is an {staged.kind}", line(path, key), f"[[{staged.kind}s]]")
    for what, wanted, is_there in (("id", module.id, staged.id), ("version", module.version, staged.version)):
        if wanted and wanted != is_there:
            raise _wrong(
                f"{module.uri or module.image} has the {what} {is_there}, and not {wanted}",
                line(path, f"{key}.{what}"),
                f'{what} = "{is_there}"',
            )


def lifecycle(
    wanted: Lifecycle,
    path: str,
    *,
    architecture: str,
    stage_dir: str,
    download: Callable[[Place], str],
) -> LifecycleFiles | None:
    """The lifecycle that the file asks for, unpacked; None where it asks for none.

    Raises UsageError (`builder-file`) for an archive that is none, NetworkError.
    """
    if not wanted.uri and not wanted.version:
        return None
    uri = wanted.uri or _release(wanted.version, architecture)
    local = os.path.join(os.path.dirname(os.path.abspath(path)), uri.removeprefix("file://"))
    archive = local if os.path.isfile(local) else download(_address(uri, path))
    root = archives.unpack_any(archive, stage_dir, shown=uri)
    programs = os.path.join(root, "lifecycle")
    try:
        with open(os.path.join(root, "lifecycle.toml"), "rb") as file:
            descriptor = file.read(_LIMIT)
        names = [entry.name for entry in os.scandir(programs) if entry.is_file(follow_symlinks=False)]
        links = {entry.name: os.readlink(entry.path) for entry in os.scandir(programs) if entry.is_symlink()}
    except OSError as error:
        raise _wrong(f"{uri} holds no lifecycle", readable(path), "a release of buildpacks/lifecycle") from error
    # A release links the phases to one program; each becomes a file of its own.
    links = {name: target for name, target in links.items() if target in names}
    return LifecycleFiles(
        programs={name: os.path.join(programs, links.get(name, name)) for name in (*names, *links)},
        descriptor=descriptor,
    )


def _release(version: str, architecture: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){2}(-[0-9A-Za-z.]+)?", version):
        raise _wrong(f"{version!r} is no version of the lifecycle", "lifecycle.version", 'version = "0.21.0"')
    name = _ARCHITECTURES.get(architecture, architecture)
    return f"{_RELEASES}/v{version}/lifecycle-v{version}+linux.{name}.tgz"


def _address(uri: str, path: str) -> Place:
    place = classify(uri)
    if place.kind != "address":
        raise _wrong(f"there is no lifecycle at {uri}", readable(path), '[lifecycle] uri = "./lifecycle.tgz"')
    return place


def _wrong(brief: str, at: str, fix: str) -> UsageError:
    return UsageError(brief, slug="builder-file", at=at, tries=(fix,))
