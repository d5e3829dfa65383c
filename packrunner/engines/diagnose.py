"""Why a sandbox did not start, from what bwrap said and what the kernel shows (SBX-41)."""

from __future__ import annotations

import os

import msgspec

from packrunner.errors import EngineError

APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_CLONE = "/proc/sys/kernel/unprivileged_userns_clone"
_MAXIMUM = "/proc/sys/user/max_user_namespaces"

# What bwrap says when namespaces, and not something else, are refused.
_DENIED = (
    "No permissions to create new namespace",
    "No permissions to creating new namespace",
    "Creating new namespace failed",
    "setting up uid map",
    "setting up gid map",
    "loopback: Failed",
    "Failed to make / slave",
    "pivot_root",
    "Can't mount proc",
    "unshare user ns",
)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine says about namespaces; all of it can be read without a right."""

    restricted: bool = False
    forbidden: bool = False
    exhausted: bool = False
    container: str = ""
    filtered: bool = False
    root: bool = False


def read_kernel() -> Kernel:
    """The facts of this machine and process."""
    return Kernel(
        restricted=_line(APPARMOR) == "1",
        forbidden=_line(_CLONE) == "0",
        exhausted=_line(_MAXIMUM) == "0",
        container=_container(),
        filtered=_status("Seccomp") == "2",
        root=os.geteuid() == 0,
    )


def denied_cause(kernel: Kernel) -> tuple[str, tuple[str, ...]] | None:
    """What refuses namespaces here, and what would allow them; None when nothing that is known does."""
    if kernel.container:
        return (
            f"packrunner runs inside a container ({kernel.container}), whose profile allows no namespaces",
            (
                "start the container with --security-opt seccomp=unconfined --security-opt systempaths=unconfined",
                "build outside of the container",
            ),
        )
    if kernel.restricted and not kernel.root:
        return (
            "kernel.apparmor_restrict_unprivileged_userns is 1 (usual on Ubuntu 24.04)",
            ("packrunner doctor --print apparmor-profile", "sudo apt-get install bubblewrap"),
        )
    if kernel.forbidden and not kernel.root:
        return "kernel.unprivileged_userns_clone is 0", ("sudo sysctl kernel.unprivileged_userns_clone=1",)
    if kernel.exhausted and not kernel.root:
        return "user.max_user_namespaces is 0", ("sudo sysctl user.max_user_namespaces=15000",)
    if kernel.filtered:
        return "a seccomp filter around packrunner refuses namespaces", ("start packrunner outside of that filter",)
    return None


def start_error(said: str, kernel: Kernel) -> EngineError:
    """The error for a sandbox that did not come up; `said` is what bwrap wrote to stderr."""
    lines = tuple(line for line in said.splitlines() if line)[:20]
    if any(sign in said for sign in _DENIED):
        cause, tries = denied_cause(kernel) or ("the kernel refuses namespaces to bwrap", ("packrunner doctor",))
        return EngineError(
            "the right to create user namespaces is missing, so there is no sandbox to build in",
            slug="userns-denied",
            cause=cause,
            tries=tries,
            foreign=lines,
        )
    return EngineError(
        "the sandbox could not be started",
        slug="sandbox-failed",
        cause=None if lines else "bwrap ended without a word",
        tries=("packrunner doctor",),
        foreign=lines,
    )


def apparmor_profile(bwrap: str) -> str:
    """A profile that allows `bwrap`, and nothing else, to create user namespaces, with the commands that load it."""
    name = "packrunner-bwrap"
    return (
        f"# Allows packrunner's sandbox. Load it once, as an administrator:\n"
        f"#   packrunner doctor --print apparmor-profile | sudo tee /etc/apparmor.d/{name}\n"
        f"#   sudo apparmor_parser --replace /etc/apparmor.d/{name}\n"
        f"abi <abi/4.0>,\n"
        f"include <tunables/global>\n"
        f'profile {name} "{bwrap}" flags=(unconfined) {{\n'
        f"  userns,\n"
        f"}}\n"
    )


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline(256).strip()
    except OSError:
        return ""


def _status(field: str) -> str:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == field:
                    return value.strip()
    except OSError:
        return ""
    return ""


def _container() -> str:
    """The kind of container around this process; files that their managers leave tell."""
    if os.path.exists("/run/.containerenv"):
        return "Podman"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "Kubernetes"
    # Machine images made from containers keep the file; a container's first process is not init.
    if os.path.exists("/.dockerenv") and os.stat("/").st_dev == os.stat("/etc").st_dev and _overlay_root():
        return "Docker"
    return ""


def _overlay_root() -> bool:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split()
                if fields[4] == "/":
                    return " - overlay " in line
    except OSError:
        return False
    return False
