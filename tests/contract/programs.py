"""A small root file system of this machine's own programs, for engines that cannot show its directories."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_TOOLS = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "dd",
    "echo",
    "env",
    "false",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mv",
    "nproc",
    "printf",
    "readlink",
    "rm",
    "setsid",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "touch",
    "true",
    "wc",
]
_LEFT_OUT = {"__pycache__", "test", "dist-packages", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3"}


def python() -> str:
    """The interpreter, with all links resolved."""
    return os.path.realpath(sys.executable)


def copy_to(root: Path) -> None:
    """Copy shell, tools, Python and the libraries they need, in the places where they are here."""
    wanted = [os.path.realpath(found) for tool in _TOOLS if (found := shutil.which(tool, path="/usr/bin:/bin"))]
    names = {f"/usr/bin/{tool}" for tool in _TOOLS}
    standard = Path(sysconfig.get_path("stdlib")).resolve()
    extensions = [str(path) for path in (standard / "lib-dynload").glob("*.so")]
    programs = {python(), *wanted, *extensions}
    for path in sorted(programs | _libraries(sorted(programs))):
        _copy(path, root)
    shutil.copytree(
        standard,
        root / str(standard).lstrip("/"),
        ignore=lambda _, names: _LEFT_OUT & set(names),
        dirs_exist_ok=True,
        symlinks=True,
    )
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}") and not (root / name).exists():
            (root / name).symlink_to(os.readlink(f"/{name}"))
    for name in names:
        link = root / name.lstrip("/")
        target = os.path.realpath(name)
        if target != name and os.path.exists(name) and not os.path.lexists(link):
            link.symlink_to(target)
    for name in ("etc", "proc", "dev", "run", "usr/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _libraries(programs: list[str]) -> set[str]:
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(?:=> |^\t)(/[^ ]+) \(0x", said, re.MULTILINE))


def _copy(path: str, root: Path) -> None:
    """A file under the name that it is asked for by: `/lib64/ld-linux-x86-64.so.2` is one of /usr/lib64's."""
    above = os.path.realpath(os.path.dirname(path))
    target = root / above.lstrip("/") / os.path.basename(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(path, target)
