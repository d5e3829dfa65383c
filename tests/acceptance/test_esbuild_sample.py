"""The sample that installs a tool: with packrunner, from a package, and as the reference lifecycle runs it.

For the last, PACKRUNNER_TEST_LIFECYCLE names a directory that has the programs `detector` and `builder` of
buildpacks/lifecycle.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import fetch

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]
LIFECYCLE = os.environ.get("PACKRUNNER_TEST_LIFECYCLE", "")


@pytest.fixture
def samples(repository: Path, tmp_path: Path) -> Path:
    """A copy of the buildpack and its application."""
    for name in ("esbuild-buildpack", "typescript"):
        shutil.copytree(repository / "samples" / name, tmp_path / name)
    return tmp_path


def build(cli: Cli, samples: Path, *more: str) -> str:
    return cli.ok("build", "page", "-p", "typescript", *more, cwd=samples).err


@pytest.mark.cnb("BLD-26", "RES-11", "EXP-10")
def test_a_tool_is_fetched_once_and_used_at_each_build(cli: Cli, samples: Path, port: int) -> None:
    first = build(cli, samples, "--sbom-output-dir", "sbom")
    assert "esbuild | fetching https://registry.npmjs.org/" in first
    for form, key in (("cdx", "components"), ("spdx", "packages")):
        document = json.loads((samples / f"sbom/build/sample_esbuild/esbuild/sbom.{form}.json").read_text())
        assert [(one["name"], one.get("version", one.get("versionInfo"))) for one in document[key]] == [
            ("esbuild", "0.28.2")
        ]
    with cli.serving("page", "-e", f"PORT={port}", port=port) as page:
        assert 'src="main.js"' in page
        assert "Good morning" in fetch_from(port, "main.js")
        assert "sans-serif" in fetch_from(port, "main.css")
    greeting = samples / "typescript/src/greeting.ts"
    greeting.write_text(greeting.read_text().replace("Good morning", "Buenos días"))
    second = build(cli, samples)
    assert "esbuild reused (version unchanged)" in second
    assert "fetching" not in second
    with cli.serving("page", "-e", f"PORT={port}", port=port):
        assert "Buenos d" in fetch_from(port, "main.js")


def fetch_from(port: int, name: str) -> str:
    with subprocess.Popen(["sleep", "60"], text=True) as alive:
        try:
            return fetch(f"http://127.0.0.1:{port}/{name}", alive)
        finally:
            alive.kill()


def test_a_mistake_in_the_source_is_shown_as_the_tool_says_it(cli: Cli, samples: Path) -> None:
    (samples / "typescript/src/main.ts").write_text('import "./missing";\n')
    ended = cli("build", "page", "-p", "typescript", cwd=samples)
    assert ended.code == 51
    assert "could not bundle src/main.ts: esbuild ended with status 1" in ended.err
    assert 'Could not resolve "./missing"' in ended.err


def test_a_setting_is_checked_before_anything_is_fetched(cli: Cli, samples: Path) -> None:
    ended = cli(
        "build", "never", "-p", "typescript", "--clear-cache", "-e", "BP_ESBUILD_SOURCEMAP=perhaps", cwd=samples
    )
    assert ended.code == 51
    assert "BP_ESBUILD_SOURCEMAP is true or false" in ended.err
    assert "fetching" not in ended.err


@pytest.mark.cnb("DST-01")
def test_the_package_builds_the_same_image(cli: Cli, samples: Path) -> None:
    cli.ok("buildpack", "package", "esbuild.cnb", "-p", "esbuild-buildpack", cwd=samples)
    build(cli, samples, "-b", "./esbuild-buildpack,procfile")
    direct = cli.ok("inspect", "page", "--json", cwd=samples).out
    build(cli, samples, "-b", "esbuild.cnb,procfile")
    assert json.loads(cli.ok("inspect", "page", "--json", cwd=samples).out)["digest"] == json.loads(direct)["digest"]


@pytest.mark.skipif(not LIFECYCLE, reason="PACKRUNNER_TEST_LIFECYCLE names no directory of the reference lifecycle")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root, which the detector demands")
@pytest.mark.cnb("DET-11", "BLD-01", "BLD-26")
def test_the_reference_lifecycle_runs_the_package(cli: Cli, samples: Path) -> None:
    cli.ok("buildpack", "package", "esbuild.cnb", "-p", "esbuild-buildpack", cwd=samples)
    placed = place(samples / "esbuild.cnb", samples / "placed")
    (samples / "order.toml").write_text('[[order]]\n[[order.group]]\nid = "sample/esbuild"\nversion = "0.1.0"\n')
    layers = samples / "layers"
    for name in ("layers", "platform/env"):
        (samples / name).mkdir(parents=True)
    (samples / "platform/env/BP_ESBUILD_SOURCEMAP").write_text("true")
    give_away(samples)
    common = (
        "-app",
        samples / "typescript",
        "-layers",
        layers,
        "-buildpacks",
        placed,
        "-platform",
        samples / "platform",
    )
    for program, more in (("detector", ("-order", samples / "order.toml")), ("builder", ())):
        phase(program, *common, *more, samples=samples)
    assert "sourceMappingURL" in (samples / "typescript/public/main.js").read_text()
    made = layers / "sample_esbuild"
    assert (made / "esbuild/bin/esbuild").stat().st_mode & 0o111
    assert tomllib.loads((made / "esbuild.toml").read_text())["types"] == {
        "launch": False,
        "build": True,
        "cache": True,
    }
    document = json.loads((layers / "sbom/build/sample_esbuild/esbuild/sbom.cdx.json").read_text())
    assert document["components"][0]["name"] == "esbuild"
    assert not (made / ".packrunner").exists()


def place(package: Path, to: Path) -> Path:
    """The buildpacks of a .cnb, as an image for building has them."""
    raw = to / "raw"
    raw.mkdir(parents=True)
    subprocess.run(["tar", "-xf", package, "-C", raw], check=True)
    for blob in (raw / "blobs/sha256").iterdir():
        if tarfile.is_tarfile(blob):
            subprocess.run(["tar", "-xf", blob, "-C", to], check=True)
    return to / "cnb/buildpacks"


def give_away(directory: Path) -> None:
    subprocess.run(["chown", "-R", "nobody", directory], check=True)
    for parent in (directory, *directory.parents):
        parent.chmod(parent.stat().st_mode | 0o055)


def phase(program: str, *args: str | Path, samples: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name.upper().endswith(("_PROXY", "SSL_CERT_FILE"))}
    target = {"CNB_TARGET_OS": "linux", "CNB_TARGET_ARCH": "amd64"}
    env = {"PATH": os.environ["PATH"], "HOME": str(samples), "CNB_PLATFORM_API": "0.13", **kept, **target}
    ended = subprocess.run(
        ["runuser", "-u", "nobody", "--", Path(LIFECYCLE) / program, *args, "-log-level", "debug"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
