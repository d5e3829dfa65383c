"""A buildpack on the SDK in real images: variables at each start, bindings, what the user set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.sdk.programs import DESCRIPTOR

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

HEAD = """#!/usr/bin/env -S python3 -I -S -B
import os, sys
sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))
"""
DETECT = f"{HEAD}from packrunner.sdk.detect import main\nmain(lambda context: None)\n"
BUILD = f"""{HEAD}
from packrunner.sdk.build import Build, main
from packrunner.sdk.report import say


def port() -> dict[str, str]:
    import os

    return {{"FROM_FUNCTION": 'a "b" \\\\ ' + os.environ.get("GIVEN", "")}}


def build(context: Build) -> None:
    binding = context.binding("npm", provider="own")
    say(f"{{context.target.platform}} {{context.target.distribution}} {{context.user_env['BP_X']!r}}")
    say(f"{{binding}} {{len(binding['token'])}}")
    layer = context.layer("start", launch=True)
    layer.clear()
    layer.exec_d("function", port)
    layer.exec_d("shell", 'set_env FROM_SHELL "x\\\\"y $FROM_LAYER"')
    layer.env("FROM_LAYER", "layer")
    command = ["python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    context.process("show", command, default=True)


main(build)
"""


@pytest.mark.cnb("LAU-15", "BLD-03", "DET-06")
def test_what_a_buildpack_knows_and_sets(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name, text in (("detect", DETECT), ("build", BUILD)):
        path = own / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (own / "buildpack.toml").write_text(DESCRIPTOR.format(more=""))
    binding = tmp_path / "npm"
    binding.mkdir()
    for name, text in (("type", "NPM\n"), ("provider", "own"), ("token", "0123456789\n")):
        (binding / name).write_text(text)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/file").write_text("x")
    flags = ("-b", "./own", "--binding", "npm=./npm", "-e", "BP_X= y ")
    built = cli.ok("build", "sdk", "-p", "app", *flags, cwd=tmp_path)
    assert "linux/amd64 debian 13 ' y '" in built.err
    assert "Binding('npm', type='NPM') 10" in built.err
    shown = json.loads(cli.ok("run", "sdk", "-e", "GIVEN=given").out)
    assert shown["FROM_FUNCTION"] == 'a "b" \\ given'
    assert shown["FROM_SHELL"] == 'x"y layer'
