"""Buildpacks of one program, written in a test and run as a platform would run them."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from tests.buildpacks.harness import Buildpack

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """#!{python} -IS
import os, sys
sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))
from packrunner.sdk.report import Failure, say, warn
"""
DESCRIPTOR = """
api = "0.12"
[buildpack]
id = "test/own"
version = "1.0.0"
{more}
[metadata.packrunner]
sdk = true
"""
"""`more` are further lines of the table `[buildpack]`."""


def stage(root: Path, program: str, text: str, *, more: str = "") -> Buildpack:
    """A buildpack with one program, beside those of earlier calls."""
    source = root / "source"
    (source / "bin").mkdir(parents=True, exist_ok=True)
    (source / "buildpack.toml").write_text(DESCRIPTOR.format(more=more))
    path = source / "bin" / program
    path.write_text(HEAD.format(python=sys.executable) + textwrap.dedent(text))
    path.chmod(0o755)
    return Buildpack.stage(source, root / f"run{len(list(root.iterdir()))}")


def detecting(root: Path, body: str) -> Buildpack:
    """A buildpack whose detect(c) has this body."""
    text = "from packrunner.sdk.detect import Detect, main, rule\n"
    return stage(
        root, "detect", f"{text}def detect(c: Detect) -> None:\n{textwrap.indent(body, '    ')}\nmain(detect)\n"
    )


def building(root: Path, body: str, *, before: str = "", more: str = "") -> Buildpack:
    """A buildpack whose build(c) has this body; `before` stands in front of the function."""
    text = f"from packrunner.sdk.build import Build, main\n{before}\n"
    body = textwrap.indent(body, "    ")
    return stage(root, "build", f"{text}def build(c: Build) -> None:\n{body}\nmain(build)\n", more=more)
