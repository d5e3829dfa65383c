"""Run a command on a machine whose names are resolved by a program on 127.0.0.53, as systemd-resolved's stub does.

Called in a network and a mount namespace of its own: python stub.py COMMAND...
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

UP = 0x1
GET_FLAGS, SET_FLAGS = 0x8913, 0x8914


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        found = fcntl.ioctl(control, GET_FLAGS, struct.pack("16sh22x", b"lo", 0))
        (flags,) = struct.unpack("16xh22x", found)
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sh22x", b"lo", flags | UP))


def answer(query: bytes) -> bytes:
    """10.1.2.3 for every question about an IPv4 address, nothing for others."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    known = question[-4:-2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([10, 1, 2, 3])
    return query[:2] + b"\x81\x80\0\1" + (b"\0\1" if known else b"\0\0") + bytes(4) + question + record * known


def serve(listener: socket.socket) -> None:
    while True:
        query, address = listener.recvfrom(512)
        listener.sendto(answer(query), address)


def main() -> int:
    loopback_up()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.53", 53))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("nameserver 127.0.0.53\n")
        file.flush()
        os.chmod(file.name, 0o644)
        subprocess.run(["mount", "--bind", file.name, os.path.realpath("/etc/resolv.conf")], check=True)
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
