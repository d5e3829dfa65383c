"""Compiled modules in real builds: used, out of buildpacks' reach, and without a trace in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.sdk.programs import DESCRIPTOR

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

WRAPPER = """#!/bin/sh
set -eu
if [ -d /cnb/pycache ]; then
    exec python3 -I -S -B -X pycache_prefix=/cnb/pycache "$CNB_BUILDPACK_DIR/bin/build.py"
fi
exec python3 -I -S -B "$CNB_BUILDPACK_DIR/bin/build.py"
"""
PROGRAM = """
import json, os, sys
sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))
import own
from packrunner.sdk import build


def attack():
    # Tried for the buildpack itself, for the SDK and for Python's own modules.
    for module in (own, build, json):
        for act in (lambda path: open(path, "r+b"), os.unlink, lambda path: os.rename(path, path + ".old")):
            try:
                act(module.__spec__.cached)
            except OSError:
                continue
            print("changed", module.__spec__.cached)


def run(context):
    cached = [module.__spec__.cached for module in (own, build, json)]
    print("cached", *(path for path in cached if os.path.exists(path)))
    print("says", own.TEXT)
    attack()
    layer = context.layer("all", launch=True)
    layer.clear()
    os.system(f"cp -r $CNB_BUILDPACK_DIR {layer.path}/copy")


build.main(run)
"""
DETECT = "#!/bin/sh\nexit 0\n"


def write(own: Path, text: str) -> None:
    for name, content in (
        ("bin/detect", DETECT),
        ("bin/build", WRAPPER),
        ("bin/build.py", PROGRAM),
        ("lib/own.py", f"TEXT = {text!r}\n"),
        ("buildpack.toml", DESCRIPTOR.format(more="")),
    ):
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)


@pytest.mark.fault("SBX-31")
def test_used_from_the_second_build_on_and_seen_by_nothing_else(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "own", "first")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/file").write_text("x")
    command = ("build", "compiled", "-p", "app", "-b", "./own", "--rebuild")
    first, second = (cli.ok(*command, cwd=tmp_path) for _ in range(2))
    place = "/cnb/buildpacks/test_own/1.0.0/lib"
    assert "cached /usr/lib/python3.13/json/__pycache__/__init__.cpython-313.pyc\n" in first.err
    assert f"cached /cnb/pycache{place}/own.cpython-313.pyc /cnb/pycache{place}/packrunner/sdk/build.cp" in second.err
    assert "/cnb/pycache/usr/lib/python3.13/json/__init__.cpython-313.pyc\n" in second.err
    assert "changed" not in second.err
    assert first.digest == second.digest

    write(tmp_path / "own", "second")
    changed = cli.ok(*command, cwd=tmp_path)
    assert "says second" in changed.err
    assert changed.digest != second.digest
