"""Many buildpacks in local directories, for builds and builders."""

from __future__ import annotations

import os

BUILDPACKS, FILES = 50, 40


def write(path: str, version: int) -> None:
    """Write builder.toml and its buildpacks, of some kilobytes each; another version has other content everywhere."""
    lines = ['[build]\nimage = "debian:13"\n']
    order = ["[[order]]\n"]
    for n in range(BUILDPACKS):
        place = os.path.join(path, f"b{n}")
        os.makedirs(os.path.join(place, "bin"), exist_ok=True)
        with open(os.path.join(place, "buildpack.toml"), "w") as file:
            file.write(f'api = "0.12"\n[buildpack]\nid = "bench/b{n}"\nversion = "1.0.{version}"\n')
        for program in ("detect", "build"):
            with open(os.path.join(place, "bin", program), "w") as file:
                file.write("#!/bin/sh\nexit 0\n")
            os.chmod(os.path.join(place, "bin", program), 0o755)
        for i in range(FILES):
            with open(os.path.join(place, f"file{i}"), "w") as file:
                file.write(f"{n} {i} {version}\n" * 200)
        lines.append(f'[[buildpacks]]\nuri = "./b{n}"\n')
        order.append(f'[[order.group]]\nid = "bench/b{n}"\n')
    with open(os.path.join(path, "builder.toml"), "w") as file:
        file.writelines([*lines, *order])


def flags(path: str, count: int) -> list[str]:
    """What adds the first of these buildpacks to a build."""
    return [word for n in range(count) for word in ("-b", os.path.join(path, f"b{n}"))]
