"""Programs of a buildpack as a platform starts them, and nothing more: for tests of the SDK."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON_DIR = os.path.join(sys.base_prefix, "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A finished bin/detect or bin/build."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        """The output, line by line."""
        return self.output.splitlines()


@dataclass(slots=True, kw_only=True)
class Buildpack:
    """A staged buildpack with an application, a platform directory and a layers directory of its own."""

    root: Path
    staged: Path
    app: Path
    layers: Path
    platform_env: Path
    plan: Path
    env: dict[str, str] = field(default_factory=dict)
    entries: str = ""
    """The build plan's entries for bin/build."""
    conventions: bool = True
    """Whether the platform reads what buildpack-conventions.md describes."""

    @classmethod
    def stage(cls, source: Path, root: Path) -> Buildpack:
        """Copy the buildpack with the SDK inside, as the catalog does (`[metadata.packrunner] sdk = true`)."""
        staged = root / "buildpack"
        shutil.copytree(source, staged, ignore=shutil.ignore_patterns("__pycache__"))
        metadata = tomllib.loads((staged / "buildpack.toml").read_text())["metadata"] if _has_sdk(staged) else {}
        if metadata.get("packrunner", {}).get("sdk"):
            vendored = staged / "lib/packrunner/sdk"
            shutil.copytree(ROOT / "packrunner/sdk", vendored, ignore=shutil.ignore_patterns("__pycache__"))
        if metadata.get("packrunner", {}).get("reloader"):
            program = staged / "lib/packrunner/bin/linux-amd64/reloader"
            program.parent.mkdir(parents=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
        made = cls(
            root=root,
            staged=staged,
            app=root / "workspace",
            layers=root / "layers",
            platform_env=root / "platform/env",
            plan=root / "plan.toml",
        )
        for directory in (made.app, made.layers, made.platform_env):
            directory.mkdir(parents=True)
        return made

    def set(self, name: str, value: str | bytes) -> None:
        """Set a variable as a user does: a file for the platform, and the environment."""
        data = value.encode() if isinstance(value, str) else value
        (self.platform_env / name).write_bytes(data)
        self.env[name] = os.fsdecode(data)

    def write(self, name: str, text: str | bytes = "") -> Path:
        """Write a file of the application."""
        path = self.app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def detect(self) -> Ran:
        """Run bin/detect."""
        self.plan.write_bytes(b"")
        return self._run("detect", (str(self.platform), str(self.plan)), {"CNB_BUILD_PLAN_PATH": str(self.plan)})

    def build(self) -> Ran:
        """Run bin/build over what the layers directory holds."""
        if self.conventions:
            (self.layers / ".packrunner").mkdir(exist_ok=True)
        target = {"CNB_TARGET_OS": "linux", "CNB_TARGET_ARCH": "amd64", "CNB_TARGET_DISTRO_NAME": "debian"}
        self.plan.write_text(self.entries)
        files = {"CNB_LAYERS_DIR": str(self.layers), "CNB_BP_PLAN_PATH": str(self.plan)}
        return self._run("build", (str(self.layers), str(self.platform), str(self.plan)), {**files, **target})

    def restore(self) -> None:
        """Leave what a platform brings back for the next build: metadata without types, content of cached layers."""
        for path in self.layers.glob("*.toml"):
            table = tomllib.loads(path.read_text())
            types = table.get("types", {})
            content = self.layers / path.stem
            if path.name in {"launch.toml", "build.toml"} or not any(types.values()):
                path.unlink()
                continue
            if not types.get("cache"):
                shutil.rmtree(content, ignore_errors=True)
            text = path.read_text()
            kept = text[text.index("[metadata]") :] if "[metadata]" in text else ""
            path.write_text(kept)
        shutil.rmtree(self.layers / ".packrunner", ignore_errors=True)

    def toml(self, name: str) -> dict[str, Any]:
        """A file of the layers directory; empty when absent."""
        path = self.layers / name
        return tomllib.loads(path.read_text()) if path.exists() else {}

    @property
    def processes(self) -> dict[str, list[str]]:
        """The commands of launch.toml by type."""
        return {p["type"]: p["command"] for p in self.toml("launch.toml").get("processes", [])}

    @property
    def default(self) -> str | None:
        """The default process type."""
        return next((p["type"] for p in self.toml("launch.toml").get("processes", []) if p.get("default")), None)

    @property
    def details(self) -> dict[str, str]:
        """What the buildpack said of each layer."""
        return {one["name"]: one["detail"] for one in self.toml(".packrunner/report.toml").get("layers", [])}

    @property
    def failure(self) -> dict[str, Any]:
        """What the buildpack said of its failure."""
        return self.toml(".packrunner/failure.toml")

    def files(self, layer: str) -> dict[str, bytes]:
        """Every file of a layer by relative path; links as what they point to."""
        top = self.layers / layer
        found: dict[str, bytes] = {}
        for path in sorted(top.rglob("*")):
            if path.is_symlink():
                found[str(path.relative_to(top))] = b"-> " + os.fsencode(os.readlink(path))
            elif path.is_file():
                found[str(path.relative_to(top))] = b"%o " % (path.stat().st_mode & 0o777) + path.read_bytes()
        return found

    @property
    def platform(self) -> Path:
        """The platform directory."""
        return self.platform_env.parent

    def _run(self, program: str, args: tuple[str, ...], env: dict[str, str]) -> Ran:
        # Arguments are deprecated, and passed all the same (DET-02, BLD-02).
        own = {
            "PATH": f"{PYTHON_DIR}:/usr/bin:/bin",
            "HOME": str(self.root),
            "CNB_BUILDPACK_DIR": str(self.staged),
            "CNB_PLATFORM_DIR": str(self.platform),
            "CNB_EXEC_ENV": "production",
            **{name: os.environ[name] for name in _TRUST if name in os.environ},
        }
        ended = subprocess.run(
            [str(self.staged / "bin" / program), *args],
            cwd=self.app,
            env={**own, **self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Ran(code=ended.returncode, output=ended.stdout.decode(errors="replace"))


_TRUST = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "PIP_FIND_LINKS", "PIP_INDEX_URL"),
    *("UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What decides how a developer's machine reaches package indexes."""


def _has_sdk(staged: Path) -> bool:
    return "[metadata" in (staged / "buildpack.toml").read_text()
