"""What packrunner/live-reload puts into an image, used inside of it as tools use it: by name, through the launcher."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

DETECT = """#!/bin/sh
cat > "$CNB_BUILD_PLAN_PATH" <<END
[[requires]]
name = "live-reload"
[requires.metadata]
buildpack = "acme/words"
version = "1.0.0"
[[requires.metadata.rules]]
src = ["*.in"]
action = "restart"
exec = ["translate"]
[[requires.metadata.rules]]
src = ["../*"]
action = "sync"
[[or]]
END
"""

BUILD = """#!/bin/sh
set -eu
layer=$CNB_LAYERS_DIR/tool
mkdir -p "$layer/bin"
printf '#!/bin/sh\\ntr a-z A-Z < words.in > words.out; echo translated\\n' > "$layer/bin/translate"
chmod +x "$layer/bin/translate"
printf '[types]\\nlaunch = true\\n' > "$layer.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<END
[[processes]]
type = "web"
command = ["${PACKRUNNER_RELOADER:-none}", "run", "--", "sh", "-c", "echo web: \\$(cat words.out); exec sleep 9"]
default = true
END
"""

SCRIPT = """
export CNB_PLATFORM_API=0.15 CNB_EXEC_ENV=development CNB_LAYERS_DIR=/layers CNB_APP_DIR=/workspace
PATH=/cnb/process:$PATH  # as an exec into a container has it
/cnb/process/web > log 2>&1 &
started=$!
await() { until case "$(cat log)" in *"web: $1"*) true ;; *) false ;; esac do sleep 0.05; done; }
await FIRST
mkdir -p /tmp/workspace/new
echo hello > /tmp/workspace/new/there
tar cf - -C /tmp workspace | tar -C / -x -f -
echo "brought $(cat new/there)"
rm -rf /workspace/new
test -e new || echo removed
echo changed > words.in
/cnb/lifecycle/launcher -- reloader settle
echo "settled $?"
await CHANGED
/cnb/lifecycle/launcher -- reloader settle
echo "again $?"
kill $started
wait $started
echo "ended $?"
"""


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, str]:
    """A buildpack with a rule that runs a command of a layer, and its application."""
    buildpack = tmp_path / "words"
    (buildpack / "bin").mkdir(parents=True)
    for name, text in (("detect", DETECT), ("build", BUILD)):
        (buildpack / "bin" / name).write_text(text)
        (buildpack / "bin" / name).chmod(0o755)
    (buildpack / "buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = "acme/words"\nversion = "1.0.0"\n')
    app = tmp_path / "app"
    app.mkdir()
    (app / "words.in").write_text("first\n")
    (app / "words.out").write_text("FIRST\n")
    return str(buildpack), str(app)


def test_tools_find_everything_in_the_image(cli: Cli, words: tuple[str, str]) -> None:
    buildpack, app = words
    built = cli.ok("build", "live-words", "-p", app, "-b", buildpack, "--exec-env", "development")
    assert "acme/words: sync rule 2 (`../*` sync): pattern `../*`: has the name ..; the rule is left out" in built.err
    labels = json.loads(cli.ok("inspect", "live-words", "--json").out)["labels"]
    *_, rule = json.loads(labels["io.packrunner.sync"])["rules"]
    assert rule == {"src": ["*.in"], "action": "restart", "exec": ["translate"], "buildpack": "acme/words"}
    assert json.loads(labels["io.packrunner.sync.acme/words"])["rules"] == [rule]

    ran = cli.ok("run", "live-words", "--command", "--", "sh", "-c", SCRIPT)
    assert ran.out.splitlines() == [
        *("brought hello", "removed"),
        *("translate", "translated", "settled 0", "again 0", "ended 143"),
    ]


def test_an_image_for_production_has_nothing_of_it(cli: Cli, words: tuple[str, str]) -> None:
    buildpack, app = words
    cli.ok("build", "live-not", "-p", app, "-b", buildpack)
    found = json.loads(cli.ok("inspect", "live-not", "--json").out)
    assert [process["type"] for process in found["processes"]] == ["web"]
    assert not any(key.startswith("io.packrunner.sync") for key in found["labels"])


def test_kubectl_s_way_out_of_the_image(cli: Cli, words: tuple[str, str]) -> None:
    buildpack, app = words
    cli.ok("build", "live-words", "-p", app, "-b", buildpack, "--exec-env", "development")
    ran = cli.ok("run", "live-words", "--process", "tar", "--", "cf", "-", "words.in")
    with tarfile.open(fileobj=io.BytesIO(ran.out.encode())) as archive:
        assert archive.getnames() == ["words.in"]
