"""The SDK as a buildpack's author uses it: small programs, run as a platform would run them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from packrunner.environment import apply_files
from packrunner.formats import api, layer, plan
from tests.buildpacks.harness import ROOT, Buildpack, Ran

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = """#!{python} -IS
import os, sys
sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))
"""
DESCRIPTOR = """
api = "0.12"
[buildpack]
id = "test/own"
version = "1.0.0"
[metadata.packrunner]
sdk = true
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, str], Buildpack]:
    """A buildpack of one program."""

    def made(program: str, text: str) -> Buildpack:
        source = tmp_path / "source"
        (source / "bin").mkdir(parents=True, exist_ok=True)
        (source / "buildpack.toml").write_text(DESCRIPTOR)
        path = source / "bin" / program
        path.write_text(HEAD.format(python=sys.executable) + textwrap.dedent(text))
        path.chmod(0o755)
        return Buildpack.stage(source, tmp_path / f"run{len(list(tmp_path.iterdir()))}")

    return made


def detect(make: Callable[[str, str], Buildpack], body: str) -> tuple[Ran, Buildpack]:
    text = "from packrunner.sdk.detect import Detect, main\nfrom packrunner.sdk.report import Failure\n"
    made = make("detect", f"{text}def detect(c: Detect) -> None:\n{textwrap.indent(body, '    ')}\nmain(detect)\n")
    return made.detect(), made


def builder(make: Callable[[str, str], Buildpack], body: str) -> Buildpack:
    text = "from packrunner.sdk.build import Build, main\nfrom packrunner.sdk.report import Failure, say, warn\n"
    return make("build", f"{text}def build(c: Build) -> None:\n{textwrap.indent(body, '    ')}\nmain(build)\n")


@pytest.mark.parametrize("module", ["detect", "build"])
def test_imports_stay_lean(module: str) -> None:
    """Every call pays for these; they are imported only where they are used (speed.md, 7)."""
    heavy = {
        "re",
        "json",
        "typing",
        "dataclasses",
        "pathlib",
        "subprocess",
        "tomllib",
        "enum",
        "hashlib",
        "shutil",
        "ast",
    }
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import packrunner.sdk.{module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(ran.stdout.split())


@pytest.mark.cnb("DET-11")
def test_detect_declines_with_a_reason_as_the_last_line(make: Callable[[str, str], Buildpack]) -> None:
    ran, made = detect(
        make, "print('looking')\nsys.stdout.flush()\nc.provide('x')\nc.decline('needs go.mod', 'go mod init')"
    )
    assert (ran.code, ran.lines) == (100, ["looking", "try: go mod init", "needs go.mod"])
    assert made.plan.read_bytes() == b""


@pytest.mark.cnb("DET-18")
def test_detect_writes_alternatives_in_order(make: Callable[[str, str], Buildpack]) -> None:
    body = "c.provide('a')\nc.require('a', version='1 \"2\"', launch=True)\nc.alternative()\nc.require('b')"
    ran, made = detect(make, body)
    assert ran.code == 0, ran.output
    read = plan.read_detect_plan(made.plan.read_bytes(), where="plan")
    first, second = read.all
    assert [p.name for p in first.provides] == ["a"]
    assert first.requires[0].metadata == {"version": '1 "2"', "launch": True}
    assert [r.name for r in second.requires] == ["b"]


def test_detect_without_a_plan_passes(make: Callable[[str, str], Buildpack]) -> None:
    ran, made = detect(make, "assert not c.has('nothing')")
    assert (ran.code, made.plan.read_bytes()) == (0, b"")


@pytest.mark.cnb("DET-11")
def test_a_failure_in_detect_is_an_error_not_a_no(make: Callable[[str, str], Buildpack]) -> None:
    ran, _ = detect(make, "raise Failure('cannot read go.mod', at='go.mod:3', tries=('correct it',))")
    assert ran.code == 1
    assert ran.lines == ["error: cannot read go.mod", "  at:  go.mod:3", "  try: correct it"]


@pytest.mark.cnb("BLD-07")
@pytest.mark.cnb("BLD-10")
def test_a_build_writes_what_the_lifecycle_reads(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(
        make,
        """
one = c.layer('one', launch=True, build=True)
one.clear()
one.env('PATH', '/x', 'prepend', delim=':')
one.env('ONLY', b'bytes\\xff\\n', at='launch/web')
one.exec_d('port', '#!/bin/sh\\n', process='web')
one.sbom('cdx', '{}')
c.process('web', ['serve', '--at', '$PORT'], args=['a'], default=True, working_dir='src', exec_env=['production'])
c.label('a.b', 'c')
c.slice('static/**', '*.css')
c.unmet('other')
c.store['n'] = 1
c.sbom('launch', 'spdx', '{}')
c.step = 'served'
one.describe('1 file')
""",
    )
    made.set("UNUSED", "x")
    ran = made.build()
    assert ran.code == 0, ran.output
    read = layer.read_layer((made.layers / "one.toml").read_bytes(), where="one.toml")
    assert (read.types.launch, read.types.build, read.types.cache) == (True, True, False)
    features = api.buildpack_features("0.12")
    launch = layer.read_launch((made.layers / "launch.toml").read_bytes(), where="launch.toml", features=features)
    (web,) = launch.processes
    assert (web.type, web.command, web.args) == ("web", ("serve", "--at", "$PORT"), ("a",))
    assert (web.default, web.working_dir, web.exec_env) == (True, "src", ("production",))
    assert (launch.labels[0].key, launch.slices[0].paths) == ("a.b", ("static/**", "*.css"))
    assert made.toml("build.toml") == {"unmet": [{"name": "other"}]}
    assert made.toml("store.toml") == {"metadata": {"n": 1}}
    assert made.toml(".packrunner/report.toml")["step"] == "served"
    assert made.details == {"one": "new: 1 file"}
    env = {p.name: p.read_bytes() for p in (made.layers / "one/env").iterdir()}
    variables = {"PATH": "/bin"}
    apply_files(variables, env)
    assert variables["PATH"] == "/x:/bin"
    assert (made.layers / "one/env.launch/web/ONLY.override").read_bytes() == b"bytes\xff\n"
    assert (made.layers / "one/exec.d/web/port").stat().st_mode & 0o777 == 0o755
    assert {p.name for p in made.layers.glob("*.json")} == {"one.sbom.cdx.json", "launch.sbom.spdx.json"}


REUSING = """
layer = c.layer('dep', launch=True, build={build}, cache={cache})
if not layer.reuse({{'python': os.environ['V'], 'lock': os.environ['L']}}, source='lock'):
    open(os.path.join(layer.path, 'made'), 'w').close()
    layer.describe('2 packages')
"""


@pytest.mark.cnb("RES-14")
@pytest.mark.parametrize("cache", [True, False])
def test_a_layer_is_reused_by_its_key_and_says_why_not(make: Callable[[str, str], Buildpack], *, cache: bool) -> None:
    made = builder(make, REUSING.format(build=cache, cache=cache))
    long = "0" * 64

    def build(python: str, lock: str) -> str:
        made.restore()
        made.env.update(V=python, L=lock)
        ran = made.build()
        assert ran.code == 0, ran.output
        return made.details["dep"]

    assert build("3.13.5", long) == "new: 2 packages (lock)"
    assert build("3.13.5", long) == "reused (lock unchanged)"
    assert (made.layers / "dep/made").exists() is cache
    assert build("3.13.6", long) == "new: 2 packages (python 3.13.5 -> 3.13.6)"
    assert build("3.13.6", "1" * 64) == "new: 2 packages (lock changed)"
    assert made.toml("dep.toml")["metadata"] == {"python": "3.13.6", "lock": "1" * 64}


@pytest.mark.cnb("RES-11")
def test_a_cached_layer_without_content_is_made_again(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, REUSING.format(build=True, cache=True))
    made.env.update(V="1", L="2")
    assert made.build().code == 0
    made.restore()
    (made.layers / "dep/made").unlink()
    (made.layers / "dep").rmdir()
    assert made.build().code == 0
    assert made.details == {"dep": "new: 2 packages (the cached copy is gone)"}
    assert (made.layers / "dep/made").exists()


def test_old_content_never_survives_into_a_new_layer(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, REUSING.format(build=True, cache=True))
    made.env.update(V="1", L="2")
    assert made.build().code == 0
    (made.layers / "dep/old").mkdir()
    made.restore()
    made.env["L"] = "3"
    assert made.build().code == 0
    assert [p.name for p in (made.layers / "dep").iterdir()] == ["made"]


def test_keep_declares_a_restored_layer_and_nothing_else(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, "c.layer('tool', cache=True).keep(source='not needed')")
    assert made.build().code == 0
    assert not (made.layers / "tool.toml").exists()
    (made.layers / "tool").mkdir()
    (made.layers / "tool.toml").write_text('[metadata]\nversion = "1"\n')
    assert made.build().code == 0
    assert made.toml("tool.toml")["types"]["cache"] is True
    assert made.toml("tool.toml")["metadata"] == {"version": "1"}


FAILING = "c.layer('x').clear()\nraise Failure('could not', at='a.txt:2   line', tries=('one', 'two'))"


def test_a_failure_is_told_to_packrunner_in_a_file(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, FAILING)
    ran = made.build()
    assert (ran.code, ran.output) == (1, "")
    assert made.failure == {"brief": "could not", "at": "a.txt:2   line", "try": ["one", "two"]}
    assert list(made.layers.glob("*.toml")) == []


def test_a_failure_is_told_to_others_in_words(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, FAILING)
    made.conventions = False
    ran = made.build()
    assert ran.code == 1
    assert ran.lines == ["error: could not", "  at:  a.txt:2   line", "  try: one", "  try: two"]
    assert not (made.layers / ".packrunner").exists()


def test_other_platforms_find_no_hidden_directory(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, "c.step = 'x'\nc.layer('x', launch=True).clear()")
    made.conventions = False
    ran = made.build()
    assert (ran.code, ran.lines) == (0, ["x"])
    assert sorted(p.name for p in made.layers.iterdir()) == ["x", "x.toml"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], "could not do it: sh ended with status 3"),
        (["no-such-program"], "could not do it: no-such-program: No such file or directory"),
        (["sh", "-c", "kill -9 $$"], "could not do it: sh was ended by signal 9 (out of memory, most likely)"),
    ],
)
def test_a_failing_program_is_a_failure(make: Callable[[str, str], Buildpack], argv: list[str], words: str) -> None:
    made = builder(make, f"say('before')\nc.run({argv!r}, doing='do it')")
    ran = made.build()
    assert ran.code == 1
    assert made.failure["brief"] == words
    expected = ["before", "out", "err"] if "echo out" in argv[-1] else ["before"]
    assert ran.lines[: len(expected)] == expected


def test_a_quiet_program_is_heard_only_when_it_fails(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, "assert c.run(['echo', 'hidden'], doing='x', quiet=True) == 'hidden\\n'")
    assert (made.build().code, made.build().output) == (0, "")
    made = builder(make, "c.run(['sh', '-c', 'echo shown; false'], doing='x', quiet=True)")
    assert "shown" in made.build().output


def test_what_a_program_says_can_be_explained(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(
        make,
        "c.run(['sh', '-c', 'echo line 7 is bad; exit 1'], doing='x', "
        "explain=lambda out: Failure('found it', at=out[5:6]) if 'bad' in out else None)",
    )
    assert made.build().code == 1
    assert made.failure == {"brief": "found it", "at": "7"}


def test_a_bug_in_a_buildpack_shows_its_traceback(make: Callable[[str, str], Buildpack]) -> None:
    ran = builder(make, "raise KeyError('x')").build()
    assert ran.code == 1
    assert "KeyError: 'x'" in ran.output


def test_entries_are_what_others_require(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, "say(repr(c.entries()))")
    text = made.staged / "bin/build"
    text.write_text(
        text.read_text().replace("main(build)", "open(os.environ['CNB_BP_PLAN_PATH'], 'w').write(PLAN)\nmain(build)")
    )
    text.write_text(
        text.read_text().replace(
            "def build", "PLAN = '[[entries]]\\nname = \"x\"\\n[entries.metadata]\\nn = 1\\n'\ndef build"
        )
    )
    assert made.build().lines == ["[{'name': 'x', 'metadata': {'n': 1}}]"]


def test_modes_do_not_depend_on_the_callers_umask(make: Callable[[str, str], Buildpack]) -> None:
    made = builder(make, "l = c.layer('x', launch=True)\nl.clear()\nl.env('A', 'b')")
    script = made.staged / "bin/build"
    script.write_text(script.read_text().replace("import os, sys\n", "import os, sys\nos.umask(0o077)\n", 1))
    assert made.build().code == 0
    assert (made.layers / "x/env/A.override").stat().st_mode & 0o777 == 0o644
