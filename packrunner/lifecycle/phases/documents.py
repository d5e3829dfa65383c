"""The files between the phases, read and written; and directories of variables (DET-06, IMG-06 - IMG-08)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, TypeVar

from packrunner import confined
from packrunner.disk import disk_error
from packrunner.errors import PackrunnerError, StoreError, UsageError
from packrunner.formats import run as runs
from packrunner.formats import toml
from packrunner.formats.analyzed import Analyzed
from packrunner.formats.group import Group, Order, System
from packrunner.formats.plan import Plan
from packrunner.formats.platform import RunTarget, fill_distro
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from packrunner.formats.run import RunFile
    from packrunner.lifecycle.phases.setting import Setting

T = TypeVar("T")

_LIMIT = 16 << 20
_VALUE_LIMIT = 128 << 10
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def load(path: str, kind: type[T], setting: Setting, *, error: type[PackrunnerError], from_phase: str = "") -> T:
    """Read a file that must be there; `from_phase` is who should have written it."""
    data = _file(path, setting)
    if data is None:
        raise error(
            f"{path} does not exist",
            slug="phase-file",
            cause=f"the phase {from_phase} writes it" if from_phase else None,
            at=path,
        )
    return toml.decode(data, kind, where=path, error=error)


def analyzed(setting: Setting, error: type[PackrunnerError]) -> Analyzed:
    """analyzed.toml."""
    return load(setting.files.analyzed, Analyzed, setting, error=error, from_phase="analyze")


def group(setting: Setting, error: type[PackrunnerError]) -> Group:
    """group.toml."""
    found = load(setting.files.group, Group, setting, error=error, from_phase="detect")
    for member in (*found.group, *found.group_extensions):
        BuildpackId.parse(member.id)
    return found


def plan(setting: Setting, error: type[PackrunnerError]) -> Plan:
    """plan.toml."""
    return load(setting.files.plan, Plan, setting, error=error, from_phase="detect")


def order(setting: Setting) -> Order:
    """order.toml (IMG-06)."""
    return load(setting.files.order, Order, setting, error=UsageError)


def system(setting: Setting) -> System:
    """system.toml, which may be missing (IMG-08)."""
    data = _file(setting.files.system, setting)
    return toml.decode(data, System, where=setting.files.system, error=UsageError) if data is not None else System()


def run_images(setting: Setting) -> RunFile:
    """The run images that the builder knows; none where the file is missing (IMG-07)."""
    reads, path = (
        (runs.read, setting.files.run) if setting.features.run_toml else (runs.read_stack, setting.files.stack)
    )
    data = _file(path, setting)
    return reads(data, where=path) if data is not None else runs.RunFile()


def project_metadata(setting: Setting) -> dict[str, Any]:
    """project-metadata.toml; empty where the platform left none (EXP-24)."""
    path = setting.files.project_metadata
    data = _file(path, setting)
    return toml.decode(data, dict, where=path, error=UsageError) if data is not None else {}


def save(path: str, value: Any, setting: Setting) -> None:
    """Write a file as a whole, for the build's user to read and replace. Raises StoreError."""
    parent, name = os.path.split(path)
    try:
        os.makedirs(parent, exist_ok=True)
    except OSError as e:
        raise disk_error(e, parent) from e
    with confined.Root.open(parent) as root:
        root.write(name, toml.encode(value), owner=setting.owner)


def is_directory(path: str) -> bool:
    """Whether it is a directory and not a link to one, which a buildpack may have put there."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def user_env(setting: Setting) -> dict[str, str]:
    """The user's variables: <platform>/env, one file each, to the byte (DET-06)."""
    return {
        name: os.fsdecode(value) for name, value in _directory(os.path.join(setting.places.platform, "env")).items()
    }


def operator_env(setting: Setting) -> dict[str, bytes]:
    """The operator's files (DET-09)."""
    return _directory(os.path.join(setting.build_config, "env"))


def target(found: Analyzed | None) -> RunTarget:
    """What the run image is for: analyzed.toml's, else this machine's; the distribution filled in (TGT-07)."""
    known = found.run_image.target if found and found.run_image else None
    if known is None:
        machine = os.uname().machine
        base = RunTarget("linux", _MACHINES.get(machine, machine))
    else:
        distro = known.distro
        base = RunTarget(
            known.os,
            known.arch,
            known.arch_variant,
            distro.name if distro else "",
            distro.version if distro else "",
        )
    return base if base.distro_name and base.distro_version else fill_distro(base, os_release())


def os_release() -> bytes:
    """The description of this container's distribution; empty where it has none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        data = _bytes(path)
        if data is not None:
            return data
    return b""


def _file(path: str, setting: Setting) -> bytes | None:
    """A file that phases hand over. In <layers>, where buildpacks write, it is read through no link (SBX-01)."""
    layers = os.path.join(setting.places.layers, "")
    if not path.startswith(layers):
        return _bytes(path)
    with confined.Root.open(setting.places.layers) as root:
        return root.read(path.removeprefix(layers), limit=_LIMIT)


def _bytes(path: str) -> bytes | None:
    """A file of the platform or the builder; None where it is missing."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise disk_error(e, path) from e
    if len(data) > _LIMIT:
        raise StoreError(f"{path} has more than {_LIMIT} bytes", slug="phase-file", at=path)
    return data


def _directory(path: str) -> dict[str, bytes]:
    """Regular files, and links to some, of a directory; empty where there is none."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file() and "=" not in entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise disk_error(e, path) from e
    found = {}
    for name in names:
        value = _bytes(os.path.join(path, name)) or b""
        if b"\0" in value or len(value) > _VALUE_LIMIT:
            what = "a NUL byte" if b"\0" in value else f"more than {_VALUE_LIMIT} bytes"
            raise UsageError(f"{name} in {path} has {what}, which no variable can hold", slug="env-file", at=path)
        found[name] = value
    return found
