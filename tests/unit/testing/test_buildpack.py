"""What buildpack authors test with, on small buildpacks of its own: programs on this machine, and in this process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import BuildError, UsageError
from packrunner.sdk.report import Failure as Stop
from packrunner.testing import Buildpack, BuildpackError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packrunner.sdk.build import Build
    from packrunner.sdk.detect import Detect
    from packrunner.testing.ground import How

    Make = Callable[..., Buildpack]

TOML = """api = "0.12"
[buildpack]
id = "acme/tool"
version = "1.0.0"
sbom-formats = ["application/vnd.cyclonedx+json"]
[[targets]]
os = "linux"
"""
PASS = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a buildpack of two programs."""

    def made(detect: str = PASS, build: str = PASS, *, toml: str = TOML, where: How = "programs") -> Buildpack:
        source = tmp_path / "source"
        for name, text in (("buildpack.toml", toml), ("bin/detect", detect), ("bin/build", build)):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
            (source / name).chmod(0o755)
        return Buildpack(source, tmp_path / "root", near=tmp_path, where=where)

    return made


DECLINES = "#!/bin/sh\necho some words\necho try: rm x\necho needs y\nexit 100\n"
PLAN = """#!/bin/sh
cat > "$CNB_BUILD_PLAN_PATH" <<'T'
[[provides]]
name = "tool"
[[requires]]
name = "tool"
metadata = { version = "1" }
[[requires]]
name = "other"
[[or]]
[[or.provides]]
name = "less"
T
"""


@pytest.mark.cnb("DET-11")
def test_a_no_has_its_reason(make: Make) -> None:
    found = make(DECLINES).detect()
    assert (found.passed, found.reason, found.tries, found.error) == (False, "needs y", ("rm x",), "")
    assert "some words" in found.output


@pytest.mark.cnb("DET-16", "DET-18")
def test_a_yes_has_its_plan(make: Make) -> None:
    found = make(PLAN).detect()
    assert found.passed
    assert found.provides == ("tool",)
    assert found.requires == {"tool": {"version": "1"}, "other": {}}
    assert [one.provides for one in found.alternatives] == [("tool",), ("less",)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("#!/bin/sh\necho oh\nexit 3\n", "exit 3: oh"),
        ('#!/bin/sh\necho "[" > "$CNB_BUILD_PLAN_PATH"\n', "not TOML"),
        ("#!/not/there\n", "did not start"),
    ],
)
def test_what_is_no_answer_is_an_error(make: Make, text: str, error: str) -> None:
    found = make(text).detect()
    assert not found.passed
    assert error in found.error
    assert found.reason == ""


def test_what_does_not_fit_the_target_or_environment_does_not_run(make: Make) -> None:
    windows = make(toml=TOML.replace('"linux"', '"windows"')).detect()
    assert not windows.passed
    assert "windows" in windows.error


def test_another_execution_environment_is_not_this_one(make: Make) -> None:
    buildpack = make(toml=TOML.replace("[[targets]]", 'exec-env = ["test"]\n[[targets]]'))
    assert not buildpack.detect().passed
    buildpack.exec_env = "test"
    assert buildpack.detect().passed


BUILD = r"""#!/bin/sh
set -eu
cd "$CNB_LAYERS_DIR"
ls -A | tr '\n' ' '; echo
for one in cached:launch,build,cache kept:launch built:build; do
    name=${one%%:*}
    mkdir -p "$name/bin" "$name/env" "$name/env.launch/web" "$name/env.build"
    printf "$name" > "$name/env/ORDER.append"
    printf : > "$name/env/ORDER.delim"
    printf + > "$name/env.launch/ORDER.append"
    types=$(echo "${one#*:}" | tr ',' '\n' | sed 's/$/ = true/')
    printf '[types]\n%s\n[metadata]\nv = 1\n' "$types" > "$name.toml"
done
mkdir cached/lib 2>/dev/null || true
printf w > cached/env.launch/web/KIND.override
printf b > cached/env.build/KIND.override
echo '{"a": 1}' > cached.sbom.cdx.json
echo '{"b": 1}' > launch.sbom.cdx.json
printf '[metadata]\nn = 1\n' > store.toml
cat > launch.toml <<'T'
[[labels]]
key = "k"
value = "v"
[[slices]]
paths = ["static/*"]
[[processes]]
type = "web"
command = ["serve"]
args = ["-v"]
default = true
T
printf '[[unmet]]\nname = "x"\n' > build.toml
"""


def test_everything_that_was_left_is_seen(make: Make) -> None:
    built = make(build=BUILD).build(entries=[("x", {}), ("y", {})])
    cached = built.layers["cached"]
    assert (cached.launch, cached.build, cached.cache, cached.metadata) == (True, True, True, {"v": 1})
    assert cached.sboms == {"cdx": {"a": 1}}
    assert (built.layers["kept"].launch, built.layers["kept"].build) == (True, False)
    assert cached.read("env.build/KIND.override") == "b"
    assert "env.launch/web/KIND.override" in cached.files
    assert (built.processes["web"].command, built.processes["web"].args) == (("serve",), ("-v",))
    assert (built.default, built.labels, built.slices) == ("web", {"k": "v"}, (("static/*",),))
    assert (built.unmet, built.store) == (("x",), {"n": 1})
    assert built.sboms == {"launch": {"cdx": {"b": 1}}, "build": {}}


@pytest.mark.cnb("BLD-17", "BLD-22")
def test_variables_are_as_later_buildpacks_and_processes_have_them(make: Make) -> None:
    built = make(build=BUILD).build(entries=[("x", {})])
    cached, kept = built.layers["cached"].place, built.layers["kept"].place
    at_build = built.env_at_build({"PATH": "/bin"})
    assert (at_build["ORDER"], at_build["KIND"]) == ("built:cached", "b")
    assert at_build["PATH"] == f"{cached}/bin:{built.layers['built'].place}/bin:/bin"
    assert at_build["LIBRARY_PATH"] == f"{cached}/lib"
    assert built.env_at_launch("web", {"PATH": "/bin"}) == {
        "PATH": f"{kept}/bin:{cached}/bin:/bin",
        "LD_LIBRARY_PATH": f"{cached}/lib",
        "ORDER": "cached+:kept+",
        "KIND": "w",
    }
    assert "KIND" not in built.env_at_launch()


@pytest.mark.cnb("RES-08", "RES-09", "RES-10", "RES-11", "RES-14", "RES-16")
def test_the_next_build_finds_what_a_platform_brings_back(make: Make) -> None:
    buildpack = make(build=BUILD)
    assert buildpack.build(entries=[("x", {})]).output.split() == [".packrunner"]
    again = buildpack.build(entries=[("x", {})])
    back = {"cached", "cached.sbom.cdx.json", "cached.toml", "kept.toml", "store.toml"}
    assert set(again.output.split()) == {".packrunner", *back}
    buildpack.forget()
    assert buildpack.build(entries=[("x", {})]).output.split() == [".packrunner"]


@pytest.mark.cnb("RES-14")
def test_types_do_not_come_back_and_metadata_does(make: Make) -> None:
    text = '#!/bin/sh\ncd "$CNB_LAYERS_DIR"\ncat a.toml 2>&1\nmkdir -p a\n'
    buildpack = make(build=text + "printf '[types]\\ncache = true\\n[metadata]\\nv = 1\\n' > a.toml\n")
    buildpack.build()
    again = buildpack.build().output
    assert "v = 1" in again
    assert "types" not in again


@pytest.mark.cnb("BLD-08")
def test_a_layer_of_no_type_is_none(make: Make) -> None:
    buildpack = make(build='#!/bin/sh\nmkdir "$CNB_LAYERS_DIR/a"\nls "$CNB_LAYERS_DIR"\n')
    assert buildpack.build().layers == {}
    assert buildpack.build().output.split() == ["a"]


def test_build_gets_the_entries_that_detect_wrote_for_it(make: Make) -> None:
    built = make(PLAN, '#!/bin/sh\ncat "$CNB_BP_PLAN_PATH"\n').build()
    assert 'name = "tool"' in built.output
    assert 'version = "1"' in built.output
    assert "other" not in built.output


def test_no_build_without_detection(make: Make) -> None:
    with pytest.raises(BuildpackError, match="needs y"):
        make(DECLINES).build()


def test_a_failure_that_was_not_expected_shows_the_output(make: Make) -> None:
    with pytest.raises(BuildpackError, match=r"(?s)the last words.*ended with exit code 7"):
        make(build="#!/bin/sh\necho the last words\nexit 7\n").build()


def test_a_failure_that_was_expected_and_did_not_come(make: Make) -> None:
    with pytest.raises(BuildpackError, match="did not"):
        make().fail()


def test_a_failure_in_the_words_of_the_buildpack(make: Make) -> None:
    told = 'printf \'brief = "broke it"\\nat = "f:1"\\ntry = ["mend"]\\n\' > "$CNB_LAYERS_DIR/.packrunner/failure.toml"'
    failure = make(build=f"#!/bin/sh\necho out\n{told}\nexit 1\n").fail()
    assert (failure.brief, failure.at, failure.tries, failure.output) == ("broke it", "f:1", ("mend",), "out\n")


@pytest.mark.parametrize(
    "text", ["printf 'launch = true\\n' > a.toml", "echo '{}' > launch.sbom.spdx.json", "echo '[' > launch.toml"]
)
@pytest.mark.cnb("BLD-07", "BLD-26")
def test_what_breaks_the_specification_breaks_the_test(make: Make, text: str) -> None:
    with pytest.raises(BuildError):
        make(build=f'#!/bin/sh\ncd "$CNB_LAYERS_DIR"\n{text}\n').build()


def test_what_is_no_buildpack_is_refused(make: Make) -> None:
    with pytest.raises(UsageError):
        make(toml="api = 1\n").detect()


SEES = """#!/bin/sh
env | sort
pwd
ls
cat "$CNB_PLATFORM_DIR/env/"* "$CNB_PLATFORM_DIR/bindings/db/"* 2>/dev/null || true
"""


@pytest.mark.cnb("BLD-21", "DET-04")
def test_what_a_program_is_given(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "1")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/a.txt").write_text("a")
    buildpack = make(SEES, SEES)
    buildpack.use("shop")
    buildpack.write("sub/b.txt", "b")
    buildpack.set("BP_X", "mine")
    buildpack.bind("db", "postgres", uri="there")
    for output in (buildpack.detect().output, buildpack.build().output):
        lines = output.splitlines()
        assert {"BP_X=mine", "CNB_EXEC_ENV=production", "CNB_TARGET_OS=linux", "a.txt", "sub"} <= set(lines)
        assert str(buildpack.app) in lines
        assert "SECRET_OF_THE_DEVELOPER" not in output
        assert lines[-1] == "minepostgresthere"
    buildpack.unset("BP_X")
    assert "BP_X" not in buildpack.detect().output


PYTHON = """#!/usr/bin/env python3
import os, sys
sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))
import helper_of_acme
print("out", helper_of_acme.NAME, os.getpid(), sys.argv[0], len(sys.argv))
os.system("echo child; echo problem >&2")
print("loud", file=sys.stderr)
sys.exit(int(os.environ.get("BP_EXIT", "0")))
"""


def test_python_runs_in_this_process_from_the_source(make: Make) -> None:
    buildpack = make(PYTHON, PYTHON, where="in-process")
    (buildpack.source / "lib").mkdir()
    (buildpack.source / "lib/helper_of_acme.py").write_text("NAME = 'helped'\n")
    usual = os.umask(0o27)
    before = (dict(os.environ), os.getcwd(), sys.argv, list(sys.path))
    built = buildpack.build()
    assert f"out helped {os.getpid()} {buildpack.source / 'bin/build'} 4" in built.output
    assert {"child", "problem", "loud"} <= set(built.output.splitlines())
    buildpack.set("BP_EXIT", "4")
    assert buildpack.fail(entries=[]).brief == "ended with exit code 4"
    buildpack.set("BP_EXIT", "100")
    assert not buildpack.detect().passed
    assert os.umask(usual) == 0o27
    assert (dict(os.environ), os.getcwd(), sys.argv, list(sys.path)) == before
    assert "helper_of_acme" not in sys.modules


def test_an_exception_of_the_buildpack_is_that_of_the_test(make: Make) -> None:
    buildpack = make(build="#!/usr/bin/env python3\n1 / 0\n", where="in-process")
    with pytest.raises(ZeroDivisionError):
        buildpack.build()
    assert sys.stdout is not None
    assert os.getcwd() != str(buildpack.app)


def test_what_is_no_python_runs_as_a_program(make: Make) -> None:
    assert "hi" in make(build="#!/bin/sh\necho hi\n", where="in-process").build().output


def test_a_script_beside_the_program_is_run_in_its_place(make: Make) -> None:
    buildpack = make(build="#!/bin/sh\nexit 9\n", where="in-process")
    (buildpack.source / "bin/build.py").write_text("print(__file__)\n")
    assert buildpack.build().output == f"{buildpack.source}/bin/build.py\n"


def test_functions_in_place_of_programs(make: Make) -> None:
    def detect(context: Detect) -> None:
        if not context.has("x"):
            context.decline("needs x", "touch x")
        context.provide("tool")
        context.require("tool", version="2")

    def build(context: Build) -> None:
        layer = context.layer("tool", cache=True, build=True)
        if not layer.reuse({"version": str(context.entries()[0]["metadata"])}, source="version"):
            layer.env("TOOL", layer.path)
            layer.describe("it")
        context.process("web", ["tool"], default=True)

    buildpack = make("#!/bin/sh\nexit 9\n", "#!/bin/sh\nexit 9\n")
    declined = buildpack.detect(detect)
    assert (declined.reason, declined.tries) == ("needs x", ("touch x",))
    buildpack.write("x")
    found = buildpack.detect(detect)
    entries = [("tool", found.requires["tool"])]
    built = buildpack.build(build, entries=entries)
    assert built.layers["tool"].detail == "new: it (version)"
    assert built.env_at_build()["TOOL"] == built.layers["tool"].place
    assert buildpack.build(build, entries=entries).layers["tool"].reused


def test_a_failure_of_a_function(make: Make) -> None:
    def build(context: Build) -> None:
        raise Stop("broke", at="here:1", tries=("mend",))

    failure = make().fail(build)
    assert (failure.brief, failure.at, failure.tries) == ("broke", "here:1", ("mend",))


def test_a_breakpoint_has_the_streams_of_the_test(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    stream = sys.stdout
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(sys.stdout is stream))
    built = make(build="#!/usr/bin/env python3\nprint('before')\nbreakpoint()\n", where="in-process").build()
    assert seen == [True]
    assert built.output == "before\n"


def test_what_a_build_finds_can_be_changed_before(make: Make) -> None:
    text = '#!/bin/sh\ncd "$CNB_LAYERS_DIR"\nls\nmkdir -p a\n'
    buildpack = make(build=text + "printf '[types]\\ncache = true\\n[metadata]\\nv = 1\\n' > a.toml\n")
    buildpack.build()
    buildpack.restore()
    (buildpack.layers / "a").rmdir()
    assert buildpack.build().output.split() == ["a.toml"]
    assert buildpack.build().output.split() == ["a", "a.toml"]


def test_variables_of_buildpacks_before_it(make: Make) -> None:
    buildpack = make(SEES, SEES)
    buildpack.given["TOOL_HOME"] = "/x"
    assert "TOOL_HOME=/x" in buildpack.build().output.splitlines()
    assert "TOOL_HOME" not in buildpack.detect().output


@pytest.mark.parametrize("where", ["programs", "in-process"])
def test_a_platform_that_knows_no_conventions(make: Make, where: How) -> None:
    text = "#!/usr/bin/env python3\nimport os\nprint(os.path.exists(os.environ['CNB_LAYERS_DIR'] + '/.packrunner'))\n"
    buildpack = make(build=text, where=where)
    assert buildpack.build().output == "True\n"
    buildpack.conventions = False
    assert buildpack.build().output == "False\n"


def test_another_architecture(make: Make) -> None:
    buildpack = make(SEES, SEES)
    buildpack.arch = "riscv64"
    for output in (buildpack.detect().output, buildpack.build().output):
        assert "CNB_TARGET_ARCH=riscv64" in output.splitlines()


@pytest.mark.parametrize("asks", [True, False])
def test_the_sdk_is_in_it_if_it_asks_for_that(make: Make, *, asks: bool) -> None:
    buildpack = make(toml=TOML + f"[metadata.packrunner]\nsdk = {str(asks).lower()}\n")
    assert (buildpack.staged / "lib/packrunner/sdk/build.py").exists() is asks
    assert not (buildpack.source / "lib").exists()
