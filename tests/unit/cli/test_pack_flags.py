"""The table of pack's flags, against the options that there really are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from packrunner.cli.app import load

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = {
    "build": """
    path builder buildpack env env-file publish pull-policy tag volume cache cache-image clear-cache run-image
    trust-builder trust-extra-buildpacks network docker-host descriptor default-process platform creation-time
    exec-env sbom-output-dir report-output-dir previous-image pre-buildpack post-buildpack extension
    disable-system-buildpacks insecure-registry lifecycle-image buildpack-registry workspace uid gid userns-host
    interactive sparse
    """,
    "buildpack new": "api path targets version stacks",
    "buildpack package": """
    config format publish pull-policy path target tag label flatten flatten-exclude append-image-name-suffix
    buildpack-registry
    """,
    "buildpack inspect": "depth registry",
    "builder create": """
    config publish pull-policy tag label flatten target append-image-name-suffix buildpack-registry
    """,
}
EVERY = sorted((command, flag) for command, flags in FLAGS.items() for flag in flags.split())


def rows(repository: Path) -> dict[tuple[str, str], tuple[list[str], str]]:
    """Each flag of each command of pack with all its names and what the table says of it."""
    text = (repository / "docs/reference/pack-flags.md").read_text()
    table = {}
    for section in text.split("\n## `pack ")[1:]:
        command = section.partition("`")[0]
        for names, here in re.findall(r"^\| (`-[^|]*`) \| ([^|]*) \|", section, re.MULTILINE):
            flags = re.findall(r"`(-[^`]*)`", names)
            table[command, flags[-1].removeprefix("--")] = (flags, here)
    return table


def test_every_flag_of_pack_has_a_row(repository: Path) -> None:
    assert sorted(rows(repository)) == EVERY


@pytest.mark.parametrize(("command", "flag"), EVERY)
def test_a_row_says_what_the_command_does(command: str, flag: str, repository: Path) -> None:
    options = {name: p for p in load(command).params if isinstance(p, click.Option) for name in p.opts}
    names, here = rows(repository)[command, flag]
    match here:
        case "same":
            assert all(name in options and not options[name].hidden for name in names)
        case "no effect":
            assert all(name in options and options[name].hidden for name in names)
        case _:
            assert not any(name in options for name in names)
            assert here == "-"
