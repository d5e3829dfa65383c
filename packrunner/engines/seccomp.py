"""The system-call filter of every sandbox, assembled by hand as classic BPF.

Refused with EPERM: pushing input into a terminal (TIOCSTI, TIOCLINUX; the kernel looks at the low 32 bits of
the request, and so do we: SBX-25), new user namespaces (SBX-34), and the kernel's key rings, which no namespace divides
(SBX-32). clone3 hides its flags behind a pointer, so it "does not exist" and libraries fall back to clone.
Another architecture's calls, x32 among them, have other numbers and are not filtered, they kill.
"""

from __future__ import annotations

import errno
import os
import struct

import msgspec

from packrunner.errors import EngineError

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL = 0x80000000

# Offsets in struct seccomp_data; arguments are 64 bits wide, low half first on both architectures.
_NUMBER = 0
_ARCHITECTURE = 4
_FIRST_ARGUMENT = 16
_SECOND_ARGUMENT = 24

_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
_CLONE_NEWUSER = 0x10000000
_X32_BIT = 0x40000000


class _Machine(msgspec.Struct, frozen=True, kw_only=True):
    audit: int
    ioctl: int
    clone: int
    unshare: int
    clone3: int
    key_rings: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, ioctl=16, clone=56, unshare=272, clone3=435, key_rings=(248, 249, 250)),
    "aarch64": _Machine(audit=0xC00000B7, ioctl=29, clone=220, unshare=97, clone3=435, key_rings=(217, 218, 219)),
}


def seccomp_filter(machine: str = "") -> bytes:
    """The program for `machine` (as `uname -m` names it; this one by default), an array of struct sock_filter."""
    name = machine or os.uname().machine
    if name not in _MACHINES:
        raise EngineError(
            f"the sandbox knows no system-call filter for {name} machines",
            slug="sandbox-architecture",
            cause=f"filters exist for {' and '.join(sorted(_MACHINES))}",
        )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(_MACHINES[name]))


def _program(machine: _Machine) -> list[tuple[int, int, int, int]]:
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, machine.clone3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for number in machine.key_rings:
        program += [(_EQUAL, 0, 1, number), refuse]
    for number in (machine.clone, machine.unshare):
        # Each block skips itself when the number differs, and ends the program when it does not.
        program += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_ANY_BIT, 0, 1, _CLONE_NEWUSER),
            refuse,
            (_RETURN, 0, 0, _ALLOW),
        ]
    program += [
        (_EQUAL, 0, 4, machine.ioctl),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_EQUAL, 1, 0, _TIOCSTI),
        (_EQUAL, 0, 1, _TIOCLINUX),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return program
