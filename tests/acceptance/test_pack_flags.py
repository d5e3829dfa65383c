"""What pack's users type, by the installed command."""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

LOOK = """#!/bin/sh
echo "at $(pwd) as $(id -u):$(id -g) in $CNB_EXEC_ENV"
cat /host/name
echo "written" > /host/rw/file && echo "the writable one can be written to"
echo "no" > /host/name || echo "the other one cannot"
cat /platform/bindings/certs/ca.pem
printf '[[processes]]\\ntype = "web"\\ncommand = ["true"]\\ndefault = true\\n' > $CNB_LAYERS_DIR/launch.toml
printf '[[processes]]\\ntype = "worker"\\ncommand = ["true"]\\n' >> $CNB_LAYERS_DIR/launch.toml
echo '{}' > $CNB_LAYERS_DIR/launch.sbom.cdx.json
"""


@pytest.fixture
def look(tmp_path: Path) -> Path:
    """A buildpack that says what it sees."""
    place = tmp_path / "look"
    (place / "bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text(
        'api = "0.12"\n[buildpack]\nid = "acme/look"\nversion = "1.0.0"\n'
        'sbom-formats = ["application/vnd.cyclonedx+json"]\n'
    )
    for name, text in (("detect", "#!/bin/sh\n"), ("build", LOOK)):
        path = place / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return place


@pytest.fixture
def words(tmp_path: Path, look: Path) -> list[str]:
    """Volumes of all kinds for it."""
    (tmp_path / "name").write_text("from the host\n")
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "type").write_text("ca-certificates\n")
    (tmp_path / "certs" / "ca.pem").write_text("a certificate of ours\n")
    (tmp_path / "rw").mkdir()
    (tmp_path / "rw").chmod(0o777)
    return [
        *("-b", str(look), "--volume", f"{tmp_path}/name:/host/name", "--volume", f"{tmp_path}/rw:/host/rw:rw"),
        *("--volume", f"{tmp_path}/certs:/platform/bindings/certs"),
    ]


def test_buildpacks_see_volumes_and_are_who_and_where_they_are_told(cli: Cli, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    ended = cli.ok(
        *("build", "look", "-p", str(tmp_path / "app"), *words, "--workspace", "/app", "--exec-env", "test"),
        *(("--uid", "1234", "--gid", "2345") if os.geteuid() == 0 else ()),
    )
    assert f"at /app as {'1234:2345' if os.geteuid() == 0 else '1000:1000'} in test" in ended.err
    assert "from the host" in ended.err
    assert "the writable one can be written to" in ended.err
    assert "the other one cannot" in ended.err
    assert (tmp_path / "rw" / "file").read_text() == "written\n"
    assert "a certificate of ours" not in ended.err
    assert json.loads(cli.ok("inspect", "look", "--json").out)["working_dir"] == "/app"


def test_a_changed_volume_is_a_changed_input(cli: Cli, look: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "data").mkdir()
    os.utime(tmp_path / "data", (1, 1))
    call = ("build", "watched", "-p", str(tmp_path / "app"), "-b", str(look), "--volume", f"{tmp_path}/data:/data")
    cli.ok(*call)
    assert "Nothing changed" in cli.ok(*call).err
    (tmp_path / "data" / "new").write_text("x")
    assert "Nothing changed" not in cli.ok(*call).err
    # What builds write to says nothing about whether they would do the same again.
    cli.ok(*call[:-1], f"{tmp_path}/data:/data:rw")
    assert "Nothing changed" not in cli.ok(*call[:-1], f"{tmp_path}/data:/data:rw").err


@pytest.mark.cnb("EXP-17")
@pytest.mark.cnb("EXP-31")
def test_names_process_time_and_files_about_the_build(cli: Cli, look: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    call = (
        *("build", "named", "-p", str(tmp_path / "app"), "-b", str(look), "-t", "named:v2", "-D", "worker"),
        *("--creation-time", "1700000000", "--sbom-output-dir", str(tmp_path / "sboms")),
        *("--report-output-dir", str(tmp_path / "report")),
    )
    ended = cli.ok(*call)
    assert cli.ok("inspect", "named:v2", "--json").out.count(ended.digest) == 1
    assert json.loads(cli.ok("inspect", "named", "--json").out)["entrypoint"] == ["/cnb/process/worker"]
    assert (tmp_path / "sboms/launch/acme_look/sbom.cdx.json").read_text() == "{}\n"
    report = (tmp_path / "report/report.toml").read_text()
    assert ended.digest in report
    assert '"named:v2"' in report
    # A result of which a part is gone is not there any more.
    assert "Nothing changed" in cli.ok(*call).err
    (tmp_path / "report/report.toml").unlink()
    assert "Nothing changed" not in cli.ok(*call).err
    cli.ok("rm", "--yes", "named:v2")
    assert "Nothing changed" not in cli.ok(*call).err


@pytest.mark.cnb("RES-01")
def test_the_previous_image_may_have_another_name(cli: Cli, app: Path) -> None:
    cli.ok("build", "before", "-p", str(app), "-b", "python")
    with_it = cli.ok("build", "after", "-p", str(app), "-b", "python", "--previous-image", "before", "--rebuild")
    assert "Start it" not in with_it.err, "it is not the first build"
    assert "no new layers" in with_it.err


def test_a_platform_that_cannot_be_had_is_refused(cli: Cli, look: Path, tmp_path: Path) -> None:
    ended = cli("build", "elsewhere", "-p", str(look), "-b", str(look), "--platform", "linux/s390x")
    assert ended.code == 2
    assert "error[image-platform]: an image for linux/s390x cannot be built here" in ended.err
    assert cli("inspect", "elsewhere").code == 2


@pytest.mark.cnb("EXP-33")
@pytest.mark.parametrize("named", [False, True])
def test_a_cache_elsewhere_serves_another_machine(cli: Cli, app: Path, tmp_path: Path, named: bool) -> None:
    """Another directory with the same application stands for the machine: its own cache is empty."""
    place = "type=build;format=volume;name=acceptance" if named else f"type=dir,path={tmp_path}/cache"
    cli.ok("build", "carried", "-p", str(app), "-b", "python", "--cache", place)
    shutil.copytree(app, tmp_path / "elsewhere")
    call = ("build", "carried-too", "-p", str(tmp_path / "elsewhere"), "-b", "python", "--cache", place)
    ended = cli.ok(*call)
    assert "dependencies, downloads, uv reused" in ended.err
    assert "Nothing changed" in cli.ok(*call).err
    if not named:
        assert (tmp_path / "cache/committed/io.buildpacks.lifecycle.cache.metadata").exists()
        shutil.rmtree(tmp_path / "cache")
        assert "3 layers kept" in cli.ok(*call).err
