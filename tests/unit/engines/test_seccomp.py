"""The system-call filter, run by an interpreter of classic BPF that knows the kernel's rules for it."""

from __future__ import annotations

import errno
import struct

import pytest

from packrunner.engines.seccomp import seccomp_filter
from packrunner.errors import EngineError

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    "x86_64": {"ioctl": 16, "clone": 56, "unshare": 272, "clone3": 435, "read": 0, "keyctl": 250, "add_key": 248},
    "aarch64": {"ioctl": 29, "clone": 220, "unshare": 97, "clone3": 435, "read": 63, "keyctl": 219, "add_key": 217},
}
NEWUSER = 0x10000000


def run(program: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """The filter's verdict on a call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, audit, 0, *(value & 2**64 - 1 for value in padded))
    instructions = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, counter = 0, 0
    while True:
        code, true, false, k = instructions[counter]
        counter += 1
        if code == 0x20:
            assert k % 4 == 0
            accumulator = int(struct.unpack_from("=I", data, k)[0])
        elif code == 0x06:
            return int(k)
        else:
            test = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            counter += true if test else false


@pytest.fixture(params=sorted(AUDIT))
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def verdict(machine: str, call: str, *arguments: int) -> int:
    return run(seccomp_filter(machine), audit=AUDIT[machine], number=CALLS[machine][call], arguments=arguments)


def test_ordinary_calls_are_allowed(machine: str) -> None:
    for number in range(1024):
        if number not in CALLS[machine].values():
            answer = run(seccomp_filter(machine), audit=AUDIT[machine], number=number)
            assert answer == (EPERM if number == CALLS[machine]["add_key"] + 1 else ALLOW), number
    assert verdict(machine, "read", 0x5412, 0x5412, NEWUSER) == ALLOW


@pytest.mark.fault("SBX-25")
@pytest.mark.parametrize("request_code", [0x5412, 0x541C])
@pytest.mark.parametrize("high", [0, 1, 0x80000000, 0xFFFFFFFF])
def test_input_cannot_be_pushed_into_a_terminal(machine: str, request_code: int, high: int) -> None:
    assert verdict(machine, "ioctl", 0, high << 32 | request_code, 0) == EPERM


@pytest.mark.parametrize("request_code", [0x5401, 0x5413, 0x541B, 0x5413 << 32])
def test_other_requests_are_allowed(machine: str, request_code: int) -> None:
    assert verdict(machine, "ioctl", 0x5412, request_code, 0x541C) == ALLOW


@pytest.mark.fault("SBX-34")
@pytest.mark.parametrize("call", ["clone", "unshare"])
def test_no_new_user_namespace(machine: str, call: str) -> None:
    assert verdict(machine, call, NEWUSER) == EPERM
    assert verdict(machine, call, NEWUSER | 0x20000 | 17) == EPERM
    assert verdict(machine, call, 0x01200011) == ALLOW
    assert verdict(machine, call, 0, NEWUSER) == ALLOW
    assert verdict(machine, "clone3", 0, 0) == ENOSYS


def test_key_rings_are_closed(machine: str) -> None:
    assert verdict(machine, "keyctl", 0) == EPERM
    assert verdict(machine, "add_key") == EPERM


def test_another_architectures_calls_kill(machine: str) -> None:
    other = AUDIT["aarch64" if machine == "x86_64" else "x86_64"]
    for audit in (other, 0x40000003, 0):
        assert run(seccomp_filter(machine), audit=audit, number=0) == KILL
    for number in (0x40000000, 0x40000000 + 16, 0x40000000 + 514):
        assert run(seccomp_filter(machine), audit=AUDIT[machine], number=number) == KILL


def test_every_jump_lands_in_the_program(machine: str) -> None:
    program = seccomp_filter(machine)
    count = len(program) // 8
    for index in range(count):
        code, true, false, _ = struct.unpack_from("=HBBI", program, index * 8)
        assert index + 1 + max(true, false) < count or code == 0x06
    assert struct.unpack_from("=H", program, len(program) - 8)[0] == 0x06


def test_a_machine_without_a_filter_has_no_sandbox() -> None:
    with pytest.raises(EngineError) as caught:
        seccomp_filter("riscv64")
    assert caught.value.slug == "sandbox-architecture"
