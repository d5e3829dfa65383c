"""Put the application's packages into a fresh virtual environment, the same bytes each time.

    uv             build, cache    the installer, fetched by pip and checked against uv.txt
    downloads      cache           what uv or pip fetched, so that a changed line does not fetch everything again
    dependencies   launch, build, cache    the virtual environment

A fresh environment each time, because neither installer promises that an updated one equals a new one.
"""

from __future__ import annotations

import os
import sys

from packrunner.sdk.report import Failure, say

from .requirements import NAME
from .settings import tool_env

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packrunner.sdk.build import Build
    from packrunner.sdk.layers import Layer

    from .requirements import Requirements

_CACHE_DAYS = 30


def python_version() -> str:
    """The interpreter's version, as 3.13.5."""
    return ".".join(str(part) for part in sys.version_info[:3])


def uv_version(buildpack_dir: str) -> str:
    """The version in uv.txt."""
    with open(os.path.join(buildpack_dir, "uv.txt"), encoding="utf-8") as file:
        for line in file:
            name, pinned, version = line.partition("==")
            if name == "uv" and pinned:
                return version.split()[0]
    raise Failure("has no version of uv in its uv.txt")


class Installer:
    """uv or pip, with the layers it needs."""

    def __init__(self, context: Build, name: str) -> None:
        self.name = name
        self._context = context
        self.version = uv_version(context.buildpack_dir) if name == "uv" else ""
        self._tool = context.layer("uv", build=True, cache=True) if name == "uv" else None
        self._downloads = context.layer("downloads", cache=True)
        self._python = sys.executable

    @property
    def label(self) -> str:
        """The tool and its version, for the key of a layer."""
        return f"{self.name} {self.version}".strip()

    def keep(self) -> None:
        """Nothing is to be installed: carry the layers over to the next build."""
        self._downloads.keep(source=NAME)
        if self._tool:
            self._tool.keep(source=NAME)

    def install(self, layer: Layer, requirements: Requirements) -> None:
        """Make the virtual environment in `layer` and fill it; raises Failure with the place in requirements.txt."""
        from .explain import explain

        context = self._context
        self._open_downloads()
        env = tool_env(os.environ, downloads=self._downloads.path)
        command = self._command(env, os.path.join(layer.path, "bin", "python"))
        make_environment(context, layer.path)
        say(f"installing {NAME} with {self.label} for Python {python_version()}")
        before = _side_effects(context.app_dir, requirements)
        context.run(
            [*command, "-r", NAME, *(["--require-hashes"] if requirements.hashed else [])],
            doing=f"install {NAME}",
            env={**env, "VIRTUAL_ENV": layer.path},
            explain=lambda output: explain(output, requirements),
        )
        _remove(_side_effects(context.app_dir, requirements) - before)
        finish(context, layer.path)

    def _command(self, env: dict[str, str], target: str) -> list[str]:
        if self.name == "pip":
            return [self._python, "-I", "-m", "pip", "--python", target, "install", "--no-compile"]
        return [self._uv(env), "pip", "install", "--python", target, "--color", "never"]

    def _uv(self, env: dict[str, str]) -> str:
        assert self._tool is not None
        pinned = os.path.join(self._context.buildpack_dir, "uv.txt")
        if not self._tool.reuse({"uv": self.version, "arch": self._context.target.arch}, source="version"):
            from .explain import explain_tool

            say(f"fetching {self.label}")
            pip = [self._python, "-I", "-m", "pip", "install", "--quiet", "--target", self._tool.path, "--no-compile"]
            checked = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "-r", pinned]
            # pip reads uv.txt alone: a constraint of the application's is about its own packages.
            own = {name: value for name, value in env.items() if name not in {"PIP_CONSTRAINT", "PIP_REQUIREMENT"}}
            self._context.run([*pip, *checked], doing="fetch uv", env=own, quiet=True, explain=explain_tool)
            self._tool.detail = f"new: {self.version}"
        return os.path.join(self._tool.path, "bin", "uv")

    def _open_downloads(self) -> None:
        """The cache of downloads, emptied once it is a month old: installers only ever add to theirs."""
        import time

        today = int(time.time()) // 86400
        key = {"installer": self.name}
        begun = self._downloads.restored().get("begun", "")
        young = isinstance(begun, str) and begun.isdigit() and 0 <= today - int(begun) < _CACHE_DAYS
        if young and self._downloads.reuse({**key, "begun": str(begun)}, source="downloads"):
            self._downloads.detail = "reused (less than a month old)"
            return
        self._downloads.reuse({**key, "begun": str(today)}, source="downloads")
        self._downloads.detail = "new: packages as they were fetched"


def make_environment(context: Build, path: str) -> None:
    """A virtual environment without pip. Python's own: uv's adds a hook to every start of the interpreter."""
    context.run(
        [sys.executable, "-I", "-m", "venv", "--without-pip", path], doing="make a virtual environment", quiet=True
    )


def finish(context: Build, path: str) -> None:
    """Compile everything, and remove what differs from one installation to the next."""
    lock = os.path.join(path, ".lock")
    if os.path.exists(lock):
        os.unlink(lock)
    _forget_times(packages_dir(path))
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compile_all.py")
    # Not -I: it would ignore the fixed hash seed, and with it the order of sets in constants.
    context.run(
        [sys.executable, "-s", "-S", "-P", script, packages_dir(path), str(len(os.sched_getaffinity(0)))],
        doing="compile the packages",
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        quiet=True,
    )


def _forget_times(packages: str) -> None:
    """Remove uv's note of when a local project was changed last."""
    for name in os.listdir(packages):
        note = os.path.join(packages, name, "uv_cache.json")
        if not name.endswith(".dist-info") or not os.path.exists(note):
            continue
        os.unlink(note)
        record = os.path.join(packages, name, "RECORD")
        with open(record, encoding="utf-8", newline="") as file:
            lines = file.readlines()
        with open(record, "w", encoding="utf-8", newline="") as file:
            file.writelines(line for line in lines if not line.startswith(f"{name}/uv_cache.json,"))


def packages_dir(path: str) -> str:
    """Where a virtual environment of the running Python has its packages."""
    return os.path.join(path, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")


def package_count(path: str) -> int:
    """How many packages are installed in a virtual environment."""
    return sum(name.endswith(".dist-info") for name in os.listdir(packages_dir(path)))


def _side_effects(app_dir: str, requirements: Requirements) -> set[str]:
    """What building a local project may leave beside its source, and a build that reuses the layer would not have."""
    found = set()
    for project in requirements.projects:
        for directory in (os.path.join(app_dir, project), os.path.join(app_dir, project, "src")):
            if os.path.isdir(directory):
                names = os.listdir(directory)
                found |= {os.path.join(directory, n) for n in names if n == "build" or n.endswith(".egg-info")}
    return found


def _remove(paths: set[str]) -> None:
    import shutil

    for path in paths:
        shutil.rmtree(path)
