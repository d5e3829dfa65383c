"""Bad input: a short message with a slug and a next step, the exit code of its class, state left as it was."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Cli, Ended

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """What goes wrong: how to set it up (returns the arguments), the slug and exit code it must give."""

    make: Callable[[Path], list[str]]
    slug: str
    code: int


def empty_app(root: Path) -> list[str]:
    (root / "app").mkdir()
    (root / "app" / "notes.txt").touch()
    return ["build", "bad", "-p", str(root / "app")]


def broken_requirements(root: Path) -> list[str]:
    (root / "app").mkdir()
    (root / "app" / "Procfile").write_text("web: true\n")
    (root / "app" / "requirements.txt").write_text("flask==3.1.0\nflaskk-does-not-exist==99.9\n")
    return ["build", "bad", "-p", str(root / "app"), "-b", "python"]


def unknown_buildpack(root: Path) -> list[str]:
    return ["build", "bad", "-p", str(root), "-b", "pyton"]


def unknown_builder(root: Path) -> list[str]:
    return ["build", "bad", "-p", str(root), "-B", "debian:99"]


def no_such_path(root: Path) -> list[str]:
    return ["build", "bad", "-p", str(root / "nowhere")]


def path_is_a_file(root: Path) -> list[str]:
    (root / "file").touch()
    return ["build", "bad", "-p", str(root / "file")]


def bad_image_name(root: Path) -> list[str]:
    return ["build", "Bad_Name!", "-p", str(root)]


def bad_project(root: Path) -> list[str]:
    (root / "project.toml").write_text("[_\n")
    return ["build", "bad", "-p", str(root)]


def bad_descriptor(root: Path) -> list[str]:
    (root / "bp").mkdir()
    (root / "bp" / "buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = 3\n')
    return ["build", "bad", "-p", str(root), "-b", str(root / "bp")]


def bad_api(root: Path) -> list[str]:
    probe = probe_buildpack(root / "probe")
    descriptor = probe / "buildpack.toml"
    descriptor.write_text(descriptor.read_text().replace('api = "0.12"', 'api = "9.9"'))
    return ["build", "bad", "-p", str(root), "-b", str(probe)]


def failing_build(root: Path) -> list[str]:
    return [
        "build",
        "bad",
        "-p",
        str(root),
        "-b",
        str(probe_buildpack(root / "probe", build="#!/bin/sh\necho no luck; exit 3\n")),
    ]


def erring_detect(root: Path) -> list[str]:
    return ["build", "bad", "-p", str(root), "-b", str(probe_buildpack(root / "probe", detect="#!/bin/sh\nexit 3\n"))]


def hostile_layer_file(root: Path) -> list[str]:
    script = "#!/bin/sh\nln -s /etc/passwd $CNB_LAYERS_DIR/launch.toml\n"
    return ["build", "bad", "-p", str(root), "-b", str(probe_buildpack(root / "probe", build=script))]


def unknown_image(root: Path) -> list[str]:
    return ["run", "never-built"]


def unknown_run_image(root: Path) -> list[str]:
    return [
        "build",
        "bad",
        "-p",
        str(root),
        "-b",
        str(probe_buildpack(root / "probe")),
        "--run-image",
        f"oci:{root}/none",
    ]


def unknown_flag(root: Path) -> list[str]:
    return ["build", "bad", "--buildpak", "python"]


CASES = [
    Bad(make=empty_app, slug="detect-none", code=20),
    Bad(make=broken_requirements, slug="buildpack-failed", code=51),
    Bad(make=unknown_buildpack, slug="unknown-buildpack", code=2),
    Bad(make=unknown_builder, slug="unknown-builder", code=2),
    Bad(make=no_such_path, slug="no-such-path", code=2),
    Bad(make=path_is_a_file, slug="no-such-path", code=2),
    Bad(make=bad_image_name, slug="name", code=2),
    Bad(make=bad_project, slug="toml", code=2),
    Bad(make=bad_descriptor, slug="toml", code=2),
    Bad(make=bad_api, slug="buildpack-api", code=12),
    Bad(make=failing_build, slug="buildpack-failed", code=51),
    Bad(make=erring_detect, slug="detect-errored", code=21),
    Bad(make=hostile_layer_file, slug="unsafe-tree", code=15),
    Bad(make=unknown_image, slug="unknown-image", code=2),
    Bad(make=unknown_run_image, slug="unknown-image", code=2),
    Bad(make=unknown_flag, slug="usage", code=2),
]


def explain(ended: Ended) -> str:
    """What was printed, for the assertion's message."""
    return f"exit {ended.code}\n{ended.out}\n{ended.err}"


@pytest.mark.parametrize("bad", CASES, ids=lambda b: str(b.make.__name__))
def test_each_kind_of_bad_input_is_explained(cli: Cli, tmp_path: Path, bad: Bad) -> None:
    ended = cli(*bad.make(tmp_path))
    assert ended.code == bad.code, explain(ended)
    assert f"error[{bad.slug}]:" in ended.err, explain(ended)
    assert "Traceback" not in ended.err
    assert ended.out == ""
    if bad.slug not in {"unsafe-tree", "detect-errored"}:
        assert re.search(r"^  (try|cause|at|more):", ended.err, re.MULTILINE), explain(ended)


def test_a_wrong_line_of_requirements_is_pointed_at(cli: Cli, tmp_path: Path) -> None:
    ended = cli(*broken_requirements(tmp_path))
    assert "requirements.txt:2" in ended.err, explain(ended)


def test_a_full_disk_is_named_and_the_store_stays_whole(cli: Cli, app: Path) -> None:
    """A limit on file size stands in for a full disk: the same write fails at the same place."""
    args = ("build", "full", "-p", str(app), "-b", "python")
    first = cli.ok(*args)
    (app / "big.bin").write_bytes(os.urandom(4 << 20))
    process_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, process_limit[1]))
    try:
        failed = cli(*args)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, process_limit)
    assert failed.code in {15, 51, 62, 128 + 25}, explain(failed)
    assert "Traceback" not in failed.err
    assert cli.ok("inspect", "full", "--json").out.count(first.digest) >= 1
    cli.ok(*args)
