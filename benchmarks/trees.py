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


def launch_image(path: str, *, buildpacks: int = 5, layers: int = 2, files: int = 2) -> dict[str, str]:
    """What a launcher reads of an image, below `path`; returns the variables of its container."""
    os.makedirs(os.path.join(path, "app"))
    os.makedirs(os.path.join(path, "layers", "config"))
    for layer in (f"bench_{b}/layer{n}" for b in range(buildpacks) for n in range(layers)):
        for folder in ("bin", "lib", "env", "env.launch"):
            os.makedirs(os.path.join(path, "layers", layer, folder))
        for n in range(files):
            name = os.path.join(path, "layers", layer, ("env", "env.launch")[n % 2], f"VARIABLE_{n}.append")
            with open(name, "w") as file:
                file.write(f" of {layer}")
    listed = "".join(f'    {{ id = "bench/{b}", version = "1.0.{b}", api = "0.12" }},\n' for b in range(buildpacks))
    process = (
        '[[processes]]\ntype = "{}"\ncommand = ["/bin/true"]\nargs = []\ndirect = true\nbuildpack-id = "bench/0"\n'
    )
    with open(os.path.join(path, "layers", "config", "metadata.toml"), "w") as file:
        file.write(f"buildpacks = [\n{listed}]\n\n")
        file.writelines(
            process.format(kind) + 'exec-env = ["*"]\n\n' for kind in ("console", "release", "web", "worker")
        )
    return {
        "CNB_PLATFORM_API": "0.15",
        "CNB_LAYERS_DIR": os.path.join(path, "layers"),
        "CNB_APP_DIR": os.path.join(path, "app"),
        "PATH": "/cnb/process:/cnb/lifecycle:/usr/local/bin:/usr/bin:/bin",
    }
