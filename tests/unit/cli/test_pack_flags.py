"""The table of pack's flags, against the options that there really are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from packrunner.cli.app import load

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = """
    path builder buildpack env env-file publish pull-policy tag volume cache cache-image clear-cache run-image
    trust-builder trust-extra-buildpacks network docker-host descriptor default-process platform creation-time
    exec-env sbom-output-dir report-output-dir previous-image pre-buildpack post-buildpack extension
    disable-system-buildpacks insecure-registry lifecycle-image buildpack-registry workspace uid gid userns-host
    interactive sparse
"""
PACK = frozenset(FLAGS.split())


def rows(repository: Path) -> dict[str, tuple[list[str], str]]:
    """Each flag of pack with all its names and what the table says of it."""
    text = (repository / "docs/reference/pack-flags.md").read_text()
    found = re.findall(r"^\| (`-[^|]*`) \| ([^|]*) \|", text, re.MULTILINE)
    table = {}
    for names, here in found:
        flags = re.findall(r"`(-[^`]*)`", names)
        table[flags[-1].removeprefix("--")] = (flags, here)
    return table


@pytest.fixture
def options() -> dict[str, click.Option]:
    return {name: p for p in load("build").params if isinstance(p, click.Option) for name in p.opts}


def test_every_flag_of_pack_has_a_row(repository: Path) -> None:
    assert rows(repository).keys() == PACK


@pytest.mark.parametrize("flag", sorted(PACK))
def test_a_row_says_what_the_command_does(flag: str, repository: Path, options: dict[str, click.Option]) -> None:
    names, here = rows(repository)[flag]
    match here:
        case "same":
            assert all(name in options and not options[name].hidden for name in names)
        case "no effect":
            assert all(name in options and options[name].hidden for name in names)
        case _:
            assert not any(name in options for name in names)
            assert here == "-"
