"""The applications that are built: the Flask sample, many small files, one large file."""

from __future__ import annotations

import os
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(HERE)


def flask(path: str) -> str:
    """A copy of the sample that may be edited; returns the file to edit."""
    shutil.copytree(os.path.join(REPOSITORY, "samples", "flask"), path)
    return os.path.join(path, "app.py")


def many_files(path: str, count: int, size: int = 2048) -> str:
    """`count` files of `size` bytes in directories of 250, and a Procfile; returns the file to edit."""
    for n in range(count):
        folder = os.path.join(path, f"d{n // 250:04}")
        if n % 250 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"f{n:06}.txt"), "wb") as file:
            file.write((b"%06d " % n) * (size // 7) + b"x" * (size % 7))
    with open(os.path.join(path, "Procfile"), "w") as file:
        file.write("web: sleep 60\n")
    return os.path.join(path, "d0000", "f000000.txt")


def large_file(path: str, size: int) -> None:
    """One file of `size` bytes that do not repeat, and a Procfile."""
    os.makedirs(path)
    block = os.urandom(1 << 20)
    with open(os.path.join(path, "large.bin"), "wb") as file:
        file.writelines(block[n % 4096 :] + block[: n % 4096] for n in range(size >> 20))
    with open(os.path.join(path, "Procfile"), "w") as file:
        file.write("web: sleep 60\n")


def append_line(path: str) -> None:
    """The smallest edit that anyone makes."""
    with open(path, "a") as file:
        file.write("# one more line\n")
