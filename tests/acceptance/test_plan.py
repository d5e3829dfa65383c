"""What `plan` says before a build is what the build's report says of it afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.services import DockerService

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

FORETOLD = ("groups", "more_groups", "sources", "builder", "run_image", "previous", "caches", "settings", "outputs")


@pytest.fixture
def samples(repository: Path, tmp_path: Path) -> Path:
    """A copy of the samples; the report goes beside it."""
    shutil.copytree(repository / "samples", tmp_path / "samples")
    return tmp_path


class Compared:
    """One build, always with these arguments, after its plan."""

    def __init__(self, cli: Cli, place: Path, *words: str) -> None:
        self.cli, self.place, self.words = cli, place, (*words, "--report-output-dir", "report")

    def plan(self, *more: str) -> dict[str, Any]:
        """What would be done."""
        planned: dict[str, Any] = json.loads(self.cli.ok("plan", *self.words, *more, "--json", cwd=self.place).out)
        return planned

    def report(self) -> dict[str, Any]:
        """What was done last."""
        found: dict[str, Any] = json.loads((self.place / "report/report.json").read_text())
        return found

    def __call__(self, *more: str) -> dict[str, Any]:
        """Plan, build, compare; what was done."""
        planned = self.plan(*more)
        assert not planned["changes"]["unchanged"]
        built = self.cli.ok("build", *self.words, *more, cwd=self.place)
        done = self.report()
        assert done["schema"] == "packrunner.report/1"
        assert {name: planned[name] for name in FORETOLD} == {name: done[name] for name in FORETOLD}
        assert planned["changes"] == done["changes"]
        assert done["result"]["reference"] == built.out.strip()
        members = {(m["id"], m["version"]) for m in planned["groups"][done["result"]["group"] - 1]["members"]}
        assert {(m["id"], m["version"]) for m in done["result"]["buildpacks"]} <= members
        return done

    def unchanged(self) -> None:
        """Nothing is to be done, and nothing is."""
        report = self.report()
        assert self.plan()["changes"]["unchanged"]
        assert self.cli.ok("build", *self.words, cwd=self.place).err.startswith("Nothing changed")
        assert self.report() == report


def workspace(cli: Cli, source: Path) -> Path:
    """Where an application's layers are."""
    (found,) = [one for one in Path(cli.home).glob("cache/apps/*") if (one / "source").read_text() == str(source)]
    return found


def actions(report: dict[str, Any]) -> set[str]:
    return {one["action"] for one in report["caches"]}


@pytest.mark.cnb("RES-15", "RES-17")
def test_flask(cli: Cli, samples: Path) -> None:
    build = Compared(cli, samples, "planned", "-p", "samples/flask")
    assert build("--clear-cache")["caches"] == []
    assert actions(build()) == {"kept"}
    build.unchanged()
    page = samples / "samples/flask/app.py"
    page.write_text(page.read_text() + "\n")
    edited = build()
    assert [(one["what"], one["paths"]) for one in edited["changes"]["changes"]] == [("source", ["app.py"])]
    assert actions(edited) == {"kept"}
    cleared = build("--clear-cache")
    assert {one["reason"] for one in cleared["caches"]} == {"the cache was cleared"}


def test_a_cached_tree_that_was_touched_is_unpacked(cli: Cli, samples: Path) -> None:
    build = Compared(cli, samples, "touched", "-p", "samples/flask")
    build()
    shutil.rmtree(workspace(cli, samples / "samples/flask") / "layers/packrunner_python/uv")
    assert {one["layer"]: one["action"] for one in build("--rebuild")["caches"]}["uv"] == "unpacked"


def composed(name: str, *more: str) -> tuple[str, ...]:
    return (name, "-p", "samples/all-together", "--extension", "samples/timezone-extension", *more)


@pytest.mark.cnb("BPD-05", "BPD-06", "PRJ-05", "PRJ-06", "EXT-09")
def test_the_composed_application(cli: Cli, samples: Path) -> None:
    build = Compared(cli, samples, *composed("composed"))
    first = build()
    assert {"directory", "inline", "built-in"} <= {one["from"] for one in first["sources"]}
    build.unchanged()
    program = samples / "samples/version-buildpack/bin/build"
    program.write_text(program.read_text() + "\n")
    assert [one["what"] for one in build()["changes"]["changes"]] == ["buildpack"]
    build("--clear-cache")


BUILDER = """\
[build]
image = "debian:13"
[[buildpacks]]
uri = "web.cnb"
[[order]]
[[order.group]]
id = "sample/web"
"""


@pytest.mark.cnb("IMG-04", "BPD-05", "DST-09")
def test_a_builder_and_a_package(cli: Cli, samples: Path) -> None:
    cli.ok("buildpack", "package", "web.cnb", "-p", "samples/web-composite", cwd=samples)
    packaged = Compared(cli, samples, "packaged", "-p", "samples/flask", "-b", "web.cnb")()
    assert {one["from"] for one in packaged["sources"] if "web" in one["id"]} == {"archive"}
    (samples / "builder.toml").write_text(BUILDER)
    cli.ok("builder", "create", "acme/planned", "-c", "builder.toml", cwd=samples)
    built = Compared(cli, samples, "by-builder", "-p", "samples/flask", "-B", "acme/planned")()
    assert {(one["from"], one["digest"]) for one in built["sources"]} == {("builder", None)}
    layers = json.loads(cli.ok("inspect", "acme/planned", "--json").out)["layers"]
    assert {one["layer"] for one in built["sources"]} <= {one["diff_id"] for one in layers}
    assert built["builder"]["name"] == "acme/planned"


@pytest.mark.cnb("RES-13", "RES-15")
def test_a_cache_elsewhere(cli: Cli, samples: Path) -> None:
    build = Compared(cli, samples, "elsewhere", "-p", "samples/flask", "--cache", "type=dir,path=cache")
    layers = {one["name"]: one["diff_id"] for one in build()["result"]["layers"]}
    # As on another machine: what was cached here is gone.
    shutil.rmtree(workspace(cli, samples / "samples/flask"))
    (Path(cli.home) / "data/store/blobs/sha256" / layers["uv"].removeprefix("sha256:")).unlink()
    caches = {one["layer"]: (one["action"], one["from"]) for one in build("--rebuild")["caches"]}
    assert caches["uv"][0] == "unpacked"
    assert caches["uv"][1].endswith("cache")
    assert caches["dependencies"] == ("unpacked", "the store")


@pytest.mark.docker
def test_the_same_in_docker(cli: Cli, samples: Path, docker_engine: DockerService) -> None:
    docker = ("--engine", "docker", "--docker-host", docker_engine.host, "--network", "host")
    build = Compared(cli, samples, *composed("composed-there", *docker))
    build()
    build.unchanged()
    page = samples / "samples/all-together/app.py"
    page.write_text(page.read_text() + "\n")
    build()
    build("--clear-cache")


TALKATIVE = """#!/bin/sh
mkdir -p $1/tool $1/.packrunner
printf '[types]\\nlaunch = true\\n' >$1/tool.toml
printf '[[layers]]\\nname = "tool"\\ndetail = "new: %s of %s from https://me:hunter3@example.com"\\n' \\
    "$(cat $2/env/API_TOKEN)" "$(cat $2/bindings/db/password)" >$1/.packrunner/report.toml
"""


def test_no_secret_is_in_a_report_or_a_plan(cli: Cli, tmp_path: Path) -> None:
    for name, text in (("detect", "#!/bin/sh\n"), ("build", TALKATIVE)):
        (tmp_path / "bp/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bp/bin" / name).write_text(text)
        (tmp_path / "bp/bin" / name).chmod(0o755)
    (tmp_path / "bp/buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = "acme/talk"\nversion = "1.0.0"\n')
    for name, text in (("app/file", "x"), ("db/type", "postgres"), ("db/password", "hunter2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ("secretive", "-p", "app", "-b", "./bp", "-e", "API_TOKEN=hunter1", "--binding", "db=db")
    build = Compared(cli, tmp_path, *words)
    (layer,) = [one for one in build()["result"]["layers"] if one["name"] == "tool"]
    assert layer["detail"] == "new: (hidden) of (hidden) from https://(hidden)@example.com"
    assert "hunter" not in (tmp_path / "report/report.json").read_text()
    planned = cli.ok("plan", *words, cwd=tmp_path)
    assert "hunter" not in planned.out + planned.err


def test_no_buildpack_runs_and_only_caches_are_written(cli: Cli, app: Path, tmp_path: Path) -> None:
    told = cli.ok("plan", "unmade", "--cache", "type=dir,path=cache", "--output", "oci:out", cwd=app)
    assert "no build with these arguments is known" in " ".join(told.out.split())
    assert told.err == ""
    assert not (app / "cache").exists()
    assert not (app / "out").exists()
    assert "unmade" not in cli.ok("images").out
    assert list(tmp_path.iterdir()) == [app]


def scripted(place: Path, name: str, *, detect: str = "", build: str = "") -> None:
    """A buildpack of two lines."""
    (place / name / "bin").mkdir(parents=True)
    (place / name / "buildpack.toml").write_text(f'api = "0.12"\n[buildpack]\nid = "acme/{name}"\nversion = "1.0.0"\n')
    for program, text in (("detect", detect), ("build", build)):
        (place / name / "bin" / program).write_text(f"#!/bin/sh\n{text}\n")
        (place / name / "bin" / program).chmod(0o755)


@pytest.mark.cnb("EXP-31")
def test_a_build_that_fails_says_so_in_its_report(cli: Cli, app: Path, tmp_path: Path) -> None:
    scripted(tmp_path, "one")
    scripted(tmp_path, "two", build='[ -e mended ] || { echo "no luck: $(cat $2/env/API_TOKEN)"; exit 7; }')
    scripted(tmp_path, "three")
    (app / "file").write_text("x")
    buildpacks = [word for name in ("one", "two", "three") for word in ("-b", f"./{name}")]
    words = ("unlucky", "-p", str(app), *buildpacks, "-e", "API_TOKEN=hunter2hunter2", "--report-output-dir", "report")
    assert cli("build", *words, cwd=tmp_path).code == 51
    assert [one.name for one in (tmp_path / "report").iterdir()] == ["report.json"]
    found = json.loads((tmp_path / "report/report.json").read_text())
    assert found["result"] is None
    assert found["failure"]["phase"] == "build"
    assert [one["status"] for one in found["failure"]["buildpacks"]] == ["built", "failed", "not run"]
    assert found["failure"]["groups"][-1]["status"] == "chosen"
    assert found["failure"]["error"]["output"] == ["no luck: (hidden)"]
    assert found["builder"]["digest"].startswith("sha256:")
    assert found["caches"] == []

    (app / "mended").write_text("")
    cli.ok("build", *words, cwd=tmp_path)
    mended = json.loads((tmp_path / "report/report.json").read_text())
    assert mended["failure"] is None
    assert mended["result"]["digest"] in (tmp_path / "report/report.toml").read_text()

    scripted(tmp_path, "never", detect="echo needs a miracle; exit 100")
    never = ("unlucky", "-p", str(app), "-b", "./never", "--report-output-dir", "report")
    assert cli("build", *never, cwd=tmp_path).code == 20
    refused = json.loads((tmp_path / "report/report.json").read_text())
    assert refused["failure"]["phase"] == "detect"
    [group] = refused["failure"]["groups"]
    assert {one["id"]: one["why"] for one in group["members"]}["acme/never"] == "needs a miracle"
    assert refused["caches"] is None
    assert refused["previous"]["digest"] == mended["result"]["digest"]
    assert not (tmp_path / "report/report.toml").exists()

    # What the last build with these arguments left is not taken for the report of its image.
    again = cli.ok("build", *words, cwd=tmp_path)
    assert not again.err.startswith("Nothing changed")
    assert json.loads((tmp_path / "report/report.json").read_text())["failure"] is None
