"""Image extensions through the installed command: another run image, an extended one, a tool in the build image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.registry import ScriptedRegistry

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli, Ended

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

SAME = "ARG base_image\nFROM ${base_image}\n"
BACK = "ARG user_id\nARG group_id\nUSER ${user_id}:${group_id}\n"
SHOW_BUILD = """\
#!/bin/sh
set -e
echo "uid $(id -u), TOOL_HOME=$TOOL_HOME"
the-tool > /dev/null 2>&1 && echo "found $(the-tool)"
cat > "$CNB_LAYERS_DIR/launch.toml" <<X
[[processes]]
type = "web"
command = ["/bin/sh", "-c", "cat /opt/made /opt/data; echo \\$GREETING; ls -ln /opt; id -u"]
default = true
X
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def requiring_buildpack(place: Path, *names: str) -> str:
    """A buildpack that requires names of others, shows what it sees, and defines a process."""
    place.mkdir()
    (place / "buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = "acme/shows"\nversion = "1.0.0"\n')
    requires = "".join(f'[[requires]]\nname = "{name}"\n' for name in names)
    program(place / "bin" / "detect", f'#!/bin/sh\ncat > "$CNB_BUILD_PLAN_PATH" <<X\n{requires}X\n')
    program(place / "bin" / "build", SHOW_BUILD)
    return str(place)


def extension(place: Path, provides: str, **files: str) -> str:
    """An extension without programs: `run_Dockerfile` is generate/run.Dockerfile, `context__x` context/x."""
    place.mkdir()
    text = f'api = "0.10"\n[extension]\nid = "acme/{place.name}"\nversion = "1.0.0"\n'
    (place / "extension.toml").write_text(text)
    (place / "detect").mkdir()
    (place / "detect" / "plan.toml").write_text(f'[[provides]]\nname = "{provides}"\n')
    for name, content in files.items():
        path = place / "generate" / name.replace("_Dockerfile", ".Dockerfile").replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(place)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").write_text("of the application\n")
    return tmp_path / "app"


def inspected(cli: Cli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.ok("inspect", name, "--json").out)
    return found


def phases(ended: Ended, phase: str) -> list[str]:
    return re.findall(rf"(?m)^  {phase} +(.*?) +[\d.]+m?s$", ended.err)


@pytest.mark.cnb("EXT-08", "EXT-09", "EXT-05", "EXT-10")
@pytest.mark.parametrize("variant", ["static", "base"])
def test_an_extension_chooses_another_run_image(cli: Cli, source: Path, tmp_path: Path, variant: str) -> None:
    chooser = tmp_path / "chooser"
    chooser.mkdir()
    (chooser / "extension.toml").write_text('api = "0.12"\n[extension]\nid = "acme/chooser"\nversion = "1.0.0"\n')
    program(chooser / "bin" / "detect", '#!/bin/sh\nprintf \'[[provides]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"\n')
    program(
        chooser / "bin" / "generate",
        "#!/bin/sh\nset -e\n! touch /workspace/written 2>/dev/null\n"
        f"name=localhost/packrunner/debian:$CNB_TARGET_DISTRO_VERSION-{variant}\n"
        'echo "FROM $name" > "$CNB_OUTPUT_DIR/run.Dockerfile"\n',
    )
    shows = requiring_buildpack(tmp_path / "shows", "x")
    args = ("build", f"chosen-{variant}", "-p", str(source), "-b", shows, "--extension", str(chooser))
    first = cli.ok(*args)
    assert "warning" not in first.err
    image = inspected(cli, f"chosen-{variant}")
    name = f"localhost/packrunner/debian:13-{variant}"
    label = json.loads(image["labels"]["io.buildpacks.lifecycle.metadata"])
    assert label["runImage"]["image"] == name
    assert label["runImage"]["topLayer"] == inspected(cli, name)["layers"][-1]["diff_id"]
    assert "io.buildpacks.rebasable" not in image["labels"]
    assert cli.ok(*args).err.startswith("Nothing changed")
    program(chooser / "bin" / "generate", "#!/bin/sh\nexit 5\n")
    failed = cli(*args)
    assert failed.code == 91
    assert "chooser 1.0.0 ended with exit code 5" in failed.err


@pytest.mark.cnb("EXT-11", "EXT-12", "EXT-13", "EXT-15", "EXP-22", "EXP-23", "EXP-26")
def test_an_extended_run_image_holds_what_commands_and_copies_made(cli: Cli, source: Path, tmp_path: Path) -> None:
    dockerfile = (
        SAME
        + "USER root\nRUN echo made by $(id -un) > /opt/made && rm /etc/issue\nCOPY --chmod=640 data /opt/\n"
        + "ENV GREETING=hello\nLABEL io.buildpacks.rebasable=true\n"
        + BACK
    )
    runs = extension(tmp_path / "runs", "x", run_Dockerfile=dockerfile, **{"context.run__data": "data\n"})
    shows = requiring_buildpack(tmp_path / "shows", "x")
    args = ("build", "ran", "-p", str(source), "-b", shows, "--extension", runs)
    first = cli.ok(*args)
    started = cli("run", "ran")
    assert started.out.splitlines()[0] == "made by root"
    assert "hello" in started.out
    assert started.out.splitlines()[-1] == "1000"
    image = inspected(cli, "ran")
    base = inspected(cli, "localhost/packrunner/debian:13-python")
    layers = [layer["diff_id"] for layer in image["layers"]]
    extended = layers[len(base["layers"])].removeprefix("sha256:")
    with tarfile.open(Path(cli.home) / "data/store/blobs/sha256" / extended) as archive:
        copied = archive.getmember("opt/data")
    assert (copied.uid, copied.gid, copied.mode) == (0, 0, 0o640)
    label = json.loads(image["labels"]["io.buildpacks.lifecycle.metadata"])
    assert label["runImage"]["topLayer"] == base["layers"][-1]["diff_id"] == layers[len(base["layers"]) - 1]
    assert image["labels"]["io.buildpacks.rebasable"] == "true"
    built = json.loads(image["labels"]["io.buildpacks.build.metadata"])
    assert [(e["id"], e["version"]) for e in built["extensions"]] == [("acme/runs", "1.0.0")]
    again = cli.ok(*args, "--rebuild")
    assert (again.digest, phases(again, "extend")) == (first.digest, ["run image with runs  unchanged"])
    anew = cli.ok(*args, "--clear-cache")
    assert anew.digest == first.digest
    assert "instructions" in phases(anew, "extend")[0]


@pytest.mark.cnb("EXT-14", "EXT-10", "BLD-02")
def test_a_tool_that_an_extension_puts_into_the_build_image(cli: Cli, source: Path, tmp_path: Path) -> None:
    dockerfile = (
        SAME
        + "USER root\nENV TOOL_HOME=/opt/tool\nCOPY file /usr/share/from-app\n"
        + "WORKDIR /usr/local/bin\n"
        + "RUN printf '#!/bin/sh\\ncat /usr/share/from-app\\n' > the-tool && chmod 755 the-tool\n"
        + "RUN echo lost > /layers/lost\n"
        + BACK
    )
    tool = extension(tmp_path / "tool", "tool", build_Dockerfile=dockerfile)
    shows = requiring_buildpack(tmp_path / "shows", "tool")
    args = ("build", "tooled", "-p", str(source), "-b", shows, "--extension", tool)
    first = cli.ok(*args)
    assert "uid 1000, TOOL_HOME=/opt/tool" in first.err
    assert "found of the application" in first.err
    image = inspected(cli, "tooled")
    assert not any("Dockerfile" in str(layer) for layer in image["layers"])
    (source / "file").write_text("edited\n")
    second = cli.ok(*args)
    assert "found edited" in second.err


@pytest.mark.cnb("EXT-11")
def test_build_id_means_a_new_run_each_time(cli: Cli, source: Path, tmp_path: Path) -> None:
    dockerfile = SAME + "ARG build_id=0\nUSER root\nRUN echo $build_id > /opt/made\n" + BACK
    runs = extension(tmp_path / "runs", "x", run_Dockerfile=dockerfile)
    shows = requiring_buildpack(tmp_path / "shows", "x")
    args = ("build", "each", "-p", str(source), "-b", shows, "--extension", runs)
    assert len({cli.ok(*args).digest for _ in range(2)}) == 2


@pytest.mark.cnb("EXT-08", "EXT-13", "EXC-02")
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("FROM {registry}/run:1\n", 92, "error[run-image-unreachable]"),
        (SAME + "USER root\n", 102, "leaves root as the user of the run image"),
        (SAME + "USER root\nRUN echo why; exit 4\n", 102, "acme_bad/run.Dockerfile:4: RUN ended with exit code 4"),
        (SAME + "RUN true\nFROM other\n", 92, "acme_bad/run.Dockerfile:4: a second FROM"),
    ],
)
def test_what_goes_wrong_has_its_code_and_place(
    cli: Cli, source: Path, tmp_path: Path, text: str, code: int, says: str
) -> None:
    registry = ScriptedRegistry()
    registry.serve()
    bad = extension(tmp_path / "bad", "x", run_Dockerfile=text.replace("{registry}", registry.host))
    shows = requiring_buildpack(tmp_path / "shows", "x")
    try:
        failed = cli("build", "bad", "-p", str(source), "-b", shows, "--extension", bad)
    finally:
        registry.stop()
    assert failed.code == code
    assert says in failed.err


@pytest.mark.cnb("EXT-04")
def test_an_extension_that_nobody_needs_does_not_run(cli: Cli, source: Path, tmp_path: Path) -> None:
    unused = extension(tmp_path / "unused", "y", run_Dockerfile="FROM nowhere\n")
    shows = requiring_buildpack(tmp_path / "shows")
    ended = cli.ok("build", "unneeded", "-p", str(source), "-b", shows, "--extension", unused)
    assert phases(ended, "generate") == []


@pytest.mark.fault("PRO-01", "PRO-08")
def test_a_killed_build_leaves_no_command_running(cli: Cli, source: Path, tmp_path: Path) -> None:
    slow = extension(tmp_path / "slow", "x", run_Dockerfile=SAME + "USER root\nRUN echo began; sleep 55.44\n" + BACK)
    shows = requiring_buildpack(tmp_path / "shows", "x")
    process = cli.start("build", "slow", "-p", str(source), "-b", shows, "--extension", slow)
    assert process.stderr
    assert any("began" in line for line in process.stderr)
    process.kill()
    process.communicate()
    look = "import os,time\nfor _ in range(100):\n    time.sleep(0.05)\n"
    look += "    if not any(b'sleep\\x0055.44' in open(f'/proc/{p}/cmdline','rb').read() for p in os.listdir('/proc')\n"
    look += "               if p.isdigit() and os.path.exists(f'/proc/{p}/cmdline')): break\nelse: raise SystemExit(1)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
