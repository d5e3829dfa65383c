"""Runs inside a sandbox and tries to get out: `attacker.py NAME ARGS...` prints one line for each thing that worked.

Standard library only; it is run by whatever Python the test bound into the sandbox.
"""

import ctypes
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
NUMBERS = {"x86_64": {"clone3": 435, "keyctl": 250}, "aarch64": {"clone3": 435, "keyctl": 219}}[os.uname().machine]


def worked(what: str) -> None:
    """Report to the test."""
    sys.stdout.write(f"worked: {what}\n")


def writable(path: str) -> bool:
    """True if the file can be opened for writing; nothing is written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(fd)
    return True


def same_again(path: str) -> bool:
    """Whether a setting can be written, by writing what it is; some can be opened by everybody, and not written."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        os.write(fd, os.read(fd, 4096))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def attempt(what: str, action: Callable[..., object], *args: object) -> None:
    """Do something that must be refused."""
    try:
        action(*args)
    except OSError:
        return
    worked(what)


def sysctl() -> None:
    for directory, _, files in os.walk("/proc/sys"):
        for name in files:
            path = os.path.join(directory, name)
            if writable(path) and same_again(path):
                worked(path)
    for path in ("/proc/sysrq-trigger", "/dev/kmsg", "/proc/kcore", "/proc/1/mem", "/sys/kernel/uevent_helper"):
        if writable(path):
            worked(path)


def executable() -> None:
    for path in ("/proc/1/exe", "/run/packrunner/agent"):
        if writable(path):
            worked(path)
    attempt("chmod of the agent", os.chmod, "/run/packrunner/agent", 0o777)
    attempt("unlink of the agent", os.unlink, "/run/packrunner/agent")


def descriptors() -> None:
    for fd in range(3, 4096):
        try:
            os.fstat(fd)
        except OSError:
            continue
        worked(f"descriptor {fd}: {os.readlink(f'/proc/self/fd/{fd}')}")


def agent() -> None:
    for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/maps"):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError:
            continue
        worked(path)
    try:
        for fd in os.listdir("/proc/1/fd"):
            os.open("/proc/1/fd/" + fd, os.O_RDWR)
            worked("channel " + fd)
    except OSError:
        pass
    for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        if libc.ptrace(request, 1, None, None) == 0:
            worked("ptrace")
    for number in set(signal.Signals) | {signal.SIGSTOP, signal.SIGKILL}:
        try:
            os.kill(1, number)  # PID 1 must still be there to report our end
        except OSError:
            continue


def namespaces() -> None:
    if libc.unshare(CLONE_NEWUSER) == 0:
        worked("unshare")
    child = libc.syscall(NUMBERS["clone3"], None, 0)
    if child == 0:
        os._exit(0)
    if child > 0 or ctypes.get_errno() != errno.ENOSYS:
        worked("clone3")
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0:
        worked("mount")
    if libc.umount2(b"/proc", 2) == 0:
        worked("umount")
    if libc.chroot(b"/tmp") == 0:
        worked("chroot")
    for path in ("/proc/self/uid_map", "/proc/self/setgroups"):
        if writable(path) and path.endswith("map"):
            try:
                with open(path, "w") as file:
                    file.write("0 0 1")
            except OSError:
                continue
            worked(path)


def keys() -> None:
    if libc.syscall(NUMBERS["keyctl"], 0, -3, 0) != -1:
        worked("keyctl")


def terminal() -> None:
    for request in (0x5412, 0x541C, 0x1_0000_5412, 0xDEAD_0000_541C):
        libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]
        result = libc.ioctl(0, request, b"x")
        if result == 0 or ctypes.get_errno() != errno.EPERM:
            worked(f"ioctl {request:#x}, errno {ctypes.get_errno()}")
    try:
        os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return
    worked("/dev/tty")


def root() -> None:
    for name in ("setuid", "setgid"):
        if getattr(libc, name)(0) == 0:
            worked(name)
    if libc.setgroups(1, (ctypes.c_uint * 1)(0)) == 0:
        worked("setgroups")
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.startswith("Cap") and name != "CapBnd" and int(value, 16):
                worked(line.strip())
            if name == "NoNewPrivs" and value.strip() != "1":
                worked(line.strip())


def connect(port: str, abstract: str) -> None:
    for family, address in ((socket.AF_INET, ("127.0.0.1", int(port))), (socket.AF_UNIX, "\0" + abstract)):
        with socket.socket(family) as client:
            client.settimeout(2)
            try:
                client.connect(address)
            except OSError:
                continue
            worked(f"connect {family.name}")


def holds(path: str, sought: bytes) -> bool:
    """Whether a file can be read, and holds the canary in its first megabyte."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return sought in os.read(fd, 1 << 20)
    except OSError:
        return False
    finally:
        os.close(fd)


def search(needle: str) -> None:
    """Look for a canary in everything that can be read cheaply: environments, command lines, small files."""
    sought = needle.encode()
    others = [name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
    paths = [f"/proc/{pid}/{name}" for pid in others for name in ("environ", "cmdline")]
    for top in ("/etc", "/home", "/root", "/run", "/tmp", "/var", "/mnt", "/srv"):
        paths += [os.path.join(directory, name) for directory, _, files in os.walk(top) for name in files]
    for path in paths:
        if holds(path, sought):
            worked(path)
    if needle in "".join(os.environ.values()):
        worked("environment")


def read(path: str) -> None:
    attempt("read " + path, os.open, path, os.O_RDONLY)


def change(directory: str) -> None:
    """Write, chmod, rename, delete in a tree that must not change."""
    for path, _, files in os.walk(directory):
        attempt("create below " + path, os.open, os.path.join(path, "new"), os.O_CREAT | os.O_WRONLY)
        attempt("chmod " + path, os.chmod, path, 0o777)
        attempt("rename " + path, os.rename, path, path + "2")
        attempt("utime " + path, os.utime, path)
        for name in files:
            attempt("open " + name, os.open, os.path.join(path, name), os.O_WRONLY)
            attempt("unlink " + name, os.unlink, os.path.join(path, name))


def multiply(most: str) -> None:
    """Start processes that wait, until that is refused or there are too many."""
    read_end, write_end = os.pipe()
    for number in range(int(most)):
        try:
            pid = os.fork()
        except BlockingIOError:
            os.close(write_end)
            sys.stdout.write(f"refused after {number}\n")
            return
        if not pid:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
    worked(f"{most} processes")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write("done\n")
