"""An order of many groups and buildpacks whose programs do next to nothing."""

from __future__ import annotations

import os

DESCRIPTOR = 'api = "0.12"\n[buildpack]\nid = "bench/b{}"\nversion = "1.0.0"\n[[targets]]\nos = "linux"\n'


def large_order(path: str, groups: int, buildpacks: int) -> list[str]:
    """Write order.toml, its buildpacks and an application; the arguments of `detect`. Only the last group fits."""
    shelf = os.path.join(path, "shelf")
    for n in range(buildpacks):
        place = os.path.join(shelf, f"bench_b{n}", "1.0.0")
        os.makedirs(os.path.join(place, "bin"))
        with open(os.path.join(place, "buildpack.toml"), "w") as file:
            file.write(DESCRIPTOR.format(n))
        for program in ("detect", "build"):
            with open(os.path.join(place, "bin", program), "w") as file:
                file.write(f"#!/bin/sh\nexit {0 if n == buildpacks - 1 else 100}\n")
            os.chmod(os.path.join(place, "bin", program), 0o755)
    lines = []
    for i in range(groups - 1):
        lines.append("[[order]]\n")
        lines += [_reference((i * 5 + j) % (buildpacks - 1)) for j in range(5)]
    lines += ["[[order]]\n", _reference(buildpacks - 1)]
    with open(os.path.join(path, "order.toml"), "w") as file:
        file.writelines(lines)
    app = os.path.join(path, "app")
    os.makedirs(app)
    with open(os.path.join(app, "file"), "w") as file:
        file.write("content\n")
    return ["-p", app, "--order", os.path.join(path, "order.toml"), "--buildpacks", shelf]


def programs(path: str) -> str:
    """A shell script that runs every bin/detect once, two at a time, in no sandbox: what nobody can do without."""
    shelf = os.path.join(path, "shelf")
    return f"ls -d {shelf}/*/1.0.0/bin/detect | xargs -n 1 -P 2 sh -c '$0; exit 0'"


def _reference(number: int) -> str:
    return f'[[order.group]]\nid = "bench/b{number}"\nversion = "1.0.0"\n'
