"""The tour in README.md is what the program prints: every console block is run, numbers aside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import COMMAND, Cli

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


def steps(text: str) -> list[tuple[str, str]]:
    """Every command of the console blocks with the output shown below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def plain(output: str) -> list[str]:
    """Output without what differs from run to run: numbers, units, digests, layout and signs of slowness.

    Where a text is broken into lines depends on how wide the time beside it is.
    """
    lines = [line for line in output.splitlines() if line.strip() and "still running" not in line]
    text = re.sub(r"(?: {2,}\d\S*)?\n {20,}", " ", "\n".join(lines))
    text = re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{12,64}\b", "HEX", text)
    text = re.sub(r"\d+([.,:-]\d+)*", "N", text)
    text = re.sub(r"\bNm Ns\b", "N", text)
    text = re.sub(r"\bN ?(ms|s|kB|MB|GB)\b|<Nms|just now|N min ago", "N", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_tour_is_true(repository: Path, tmp_path: Path) -> None:
    cli = Cli(home=str(tmp_path / "home"))
    shutil.copytree(repository / "samples", tmp_path / "samples")
    environ = {**cli.environ(), "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}"}
    cwd = tmp_path
    for command, expected in steps((repository / "README.md").read_text()):
        ran = subprocess.run(
            ["bash", "-c", command], cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if command.endswith("&& cd shop"):
            cwd = tmp_path / "shop"
        assert plain(ran.stdout.decode()) == plain(expected), command
