"""Packages of buildpacks, by the installed command: made, looked at, sent, and built with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.real_registry import real_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

BUILD = """#!/bin/sh
set -e
mkdir "$CNB_LAYERS_DIR/tool"
cat file > "$CNB_LAYERS_DIR/tool/made"
printf '[types]\\nlaunch = true\\n' > "$CNB_LAYERS_DIR/tool.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<X
[[processes]]
type = "web"
command = ["cat", "$CNB_LAYERS_DIR/tool/made"]
default = true
X
"""
ORDER = '[[order]]\n[[order.group]]\nid = "acme/tool"\nversion = "1.0.0"\n'


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application, a buildpack for it, and a composite that names that one by its package."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").write_text("from the application")
    for name, more in (("tool", ""), ("all", ORDER)):
        (tmp_path / name).mkdir()
        text = f'api = "0.12"\n[buildpack]\nid = "acme/{name}"\nversion = "1.0.0"\n{more}'
        (tmp_path / name / "buildpack.toml").write_text(text)
    (tmp_path / "tool" / "bin").mkdir()
    (tmp_path / "tool" / "bin" / "detect").write_text("#!/bin/sh\n")
    (tmp_path / "tool" / "bin" / "build").write_text(BUILD)
    (tmp_path / "all" / "package.toml").write_text('[buildpack]\nuri = "."\n[[dependencies]]\nuri = "../tool.cnb"\n')
    return tmp_path


@pytest.mark.cnb("DST-01", "DST-06", "DST-09")
def test_a_build_is_the_same_wherever_the_buildpack_is(cli: Cli, app: Path) -> None:
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", cwd=app)
    cli.ok("buildpack", "package", "acme/all", "-p", "all", "--label", "team=a", cwd=app)
    with tarfile.open(app / "tool.tgz", "w:gz") as archive:
        archive.add(app / "tool", "tool-1.0.0")
    shutil.make_archive(str(app / "tool"), "zip", app, "tool")
    digests = {
        cli.ok("build", "packages", "-p", "app", "-b", place, cwd=app).digest
        for place in ("./tool", "tool.cnb", "acme/all", "docker://acme/all", "./tool.tgz", "tool.zip")
    }
    assert len(digests) == 1
    assert cli.ok("run", "packages").out == "from the application"


def test_a_repacked_buildpack_is_noticed(cli: Cli, app: Path) -> None:
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", cwd=app)
    cli.ok("buildpack", "package", "acme/noticed", "-p", "tool", cwd=app)
    cli.ok("build", "noticed", "-p", "app", "-b", "acme/noticed", cwd=app)
    again = cli.ok("build", "noticed", "-p", "app", "-b", "acme/noticed", cwd=app)
    assert "Nothing changed" in again.err
    (app / "tool" / "bin" / "build").write_text(BUILD.replace("cat file", "cat file file"))
    cli.ok("buildpack", "package", "acme/noticed", "-p", "tool", cwd=app)
    changed = cli.ok("build", "noticed", "-p", "app", "-b", "acme/noticed", cwd=app)
    assert "Nothing changed" not in changed.err
    assert changed.digest != again.digest


@pytest.mark.registry
@pytest.mark.cnb("DST-01", "DST-04")
def test_a_package_in_a_registry(cli: Cli, app: Path) -> None:
    (app / "registry").mkdir()
    with real_registry(app / "registry") as registry:
        name = f"{registry.host}/acme/tool:1.0.0"
        made = cli.ok("buildpack", "package", name, "-p", "tool", "--push", cwd=app)
        cli.ok("rm", "--yes", name)
        found = json.loads(cli.ok("buildpack", "inspect", name, "--json", cwd=app).out)
        assert (found["id"], found["digest"]) == ("acme/tool", made.digest)
        cli.ok("build", "from-registry", "-p", "app", "-b", name, cwd=app)
        package = f'[buildpack]\nuri = "."\n[[dependencies]]\nimage = "{name}"\n'
        (app / "all" / "package.toml").write_text(package)
        cli.ok("rm", "--yes", name)
        words = ("buildpack", "package", "acme/from-registry", "-p", "all")
        refused = cli(*words, "--pull-policy", "never", cwd=app)
        assert refused.code == 2
        assert name in refused.err
        cli.ok(*words, cwd=app)
    assert cli.ok("run", "from-registry").out == "from the application"


ARCHITECTURES = ("amd64", "arm64")


@pytest.fixture
def several(app: Path) -> Path:
    """The same with a part of the buildpack for each platform, and two targets for all that is packaged."""
    (app / "tool" / "linux").mkdir()
    for arch in ARCHITECTURES:
        place = app / "tool" / "linux" / arch / "bin"
        place.mkdir(parents=True)
        (place / "detect").write_text("#!/bin/sh\n")
        (place / "build").write_text(BUILD.replace("cat file", f"(echo for {arch}; cat file)"))
    for name in ("detect", "build"):
        (app / "tool" / "bin" / name).unlink()
    (app / "tool" / "bin").rmdir()
    return app


TARGETS = ("-t", "linux/amd64", "-t", "linux/arm64")


@pytest.mark.registry
@pytest.mark.cnb("DST-01", "DST-03", "DST-04")
def test_a_package_for_several_platforms_is_the_same_in_every_place(cli: Cli, several: Path) -> None:
    own = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    (several / "registry").mkdir()
    with real_registry(several / "registry") as registry:
        remote = f"{registry.host}/acme/tool:1"
        places = {"acme/several": "acme/several", "oci:tools": "oci:tools", "oci-archive:tools.tar": "tools.tar"}
        made = {cli.ok("buildpack", "package", to, "-p", "tool", *TARGETS, cwd=several).digest for to in places}
        assert len(made) == 1
        sent = cli.ok("buildpack", "package", remote, "-p", "tool", *TARGETS, "--push", cwd=several).digest
        cli.ok("rm", "--yes", remote)
        shown = {}
        for place in (*places.values(), remote):
            found = json.loads(cli.ok("buildpack", "inspect", place, "--json", cwd=several).out)
            assert [one["platform"] for one in found["targets"]] == ["linux/amd64", "linux/arm64"]
            assert found["platform"] == f"linux/{own}"
            assert len({one["digest"] for one in found["targets"]}) == 2
            shown[place] = found["digest"]
        assert shown.pop(remote) == sent
        assert set(shown.values()) == made
        digests = set()
        for place in ("./tool", *places.values(), remote):
            digests.add(cli.ok("build", "several", "-p", "app", "-b", place, cwd=several).digest)
            if place != "./tool":
                assert "Nothing changed" in cli.ok("build", "several", "-p", "app", "-b", place, cwd=several).err
        assert len(digests) == 1
    assert cli.ok("run", "several").out == f"for {own}\nfrom the application"


@pytest.mark.registry
@pytest.mark.skipif(shutil.which("pack") is None, reason="pack is not installed")
@pytest.mark.cnb("DST-01", "DST-03", "DST-04")
def test_pack_and_packrunner_read_each_others_packages_for_several_platforms(cli: Cli, several: Path) -> None:
    def pack(*words: str) -> str:
        env = {**os.environ, "PACK_HOME": str(several / "pack")}
        ended = subprocess.run(["pack", *words], cwd=several, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    targets = "".join(f'[[targets]]\nos = "linux"\narch = "{arch}"\n' for arch in ARCHITECTURES)
    with (several / "tool" / "buildpack.toml").open("a") as file:
        file.write(targets)
    (several / "tool" / "package.toml").write_text('[buildpack]\nuri = "."\n')
    for program in (several / "tool").glob("linux/*/bin/*"):
        program.chmod(0o755)
    (several / "registry").mkdir()
    with real_registry(several / "registry") as registry:
        ours, theirs = f"{registry.host}/acme/ours:1", f"{registry.host}/acme/theirs:1"
        cli.ok("buildpack", "package", ours, "-p", "tool", *TARGETS, "--push", cwd=several)
        assert "acme/tool@1.0.0" in pack("buildpack", "inspect", ours)
        config = str(several / "tool" / "package.toml")
        pack("buildpack", "package", theirs, "--publish", "--config", config, *TARGETS)
        found = json.loads(cli.ok("buildpack", "inspect", theirs, "--json", cwd=several).out)
        assert [one["platform"] for one in found["targets"]] == ["linux/amd64", "linux/arm64"]
        digests = {cli.ok("build", "both", "-p", "app", "-b", name, cwd=several).digest for name in (ours, theirs)}
    assert len(digests) == 1


@pytest.mark.cnb("DST-06")
def test_a_composite_for_several_platforms_takes_each_member_for_each(cli: Cli, several: Path) -> None:
    cli.ok("buildpack", "package", "acme/tools:1", "-p", "tool", *TARGETS, cwd=several)
    (several / "all" / "package.toml").write_text(
        '[buildpack]\nuri = "."\n[[dependencies]]\nuri = "docker://acme/tools:1"\n'
    )
    cli.ok("buildpack", "package", "acme/all:1", "-p", "all", *TARGETS, cwd=several)
    layers = {
        name: {
            one["platform"]: one["layers"]
            for one in json.loads(cli.ok("buildpack", "inspect", name, "--json", cwd=several).out)["targets"]
        }
        for name in ("acme/tools:1", "acme/all:1")
    }
    for platform, found in layers["acme/tools:1"].items():
        assert set(found) < set(layers["acme/all:1"][platform])


def test_files_for_several_platforms_are_one_each_as_with_pack(cli: Cli, several: Path) -> None:
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", *TARGETS, cwd=several)
    for arch in ARCHITECTURES:
        shown = cli.ok("buildpack", "inspect", f"tool-linux-{arch}.cnb", cwd=several).out
        assert f"linux/{arch}" in shown


def test_a_target_that_a_buildpack_is_not_for_is_refused(cli: Cli, several: Path) -> None:
    lonely = cli("buildpack", "package", "acme/x", "-p", "tool", "-t", "linux/s390x", cwd=several)
    assert lonely.code == 2
    assert "it has linux/amd64, linux/arm64" in lonely.err
    text = (several / "tool" / "buildpack.toml").read_text()
    (several / "tool" / "buildpack.toml").write_text(text + '[[targets]]\nos = "linux"\narch = "amd64"\n')
    refused = cli("buildpack", "package", "acme/x", "-p", "tool", *TARGETS, cwd=several)
    assert refused.code == 2
    assert "acme/tool@1.0.0 is not for linux/arm64" in refused.err


@pytest.mark.cnb("TGT-01", "DST-06")
def test_a_distribution_chooses_the_directory(cli: Cli, several: Path) -> None:
    own = ARCHITECTURES[os.uname().machine == "aarch64"]
    debian = several / f"tool/linux/{own}/debian@13"
    shutil.copytree(several / f"tool/linux/{own}", several / "other")
    shutil.copytree(several / "other", debian)
    program = debian / "bin/build"
    program.write_text(program.read_text().replace(f"for {own}", "for debian"))
    both = ("-t", f"linux/{own}:debian@13;ubuntu@24.04")
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", *both, cwd=several)
    names = [f"tool-linux-{own}-debian-13.cnb", f"tool-linux-{own}-ubuntu-24.04.cnb"]
    assert sorted(path.name for path in several.glob("*.cnb")) == names
    said = {}
    for name in (*names, "./tool"):
        cli.ok("build", "distributed", "-p", "app", "-b", name, cwd=several)
        said[name] = cli.ok("run", "distributed").out.splitlines()[0]
    assert list(said.values()) == ["for debian", f"for {own}", "for debian"]

    refused = cli("buildpack", "package", "acme/x", "-p", "tool", *both, cwd=several)
    assert refused.code == 2
    assert "whatever the distribution" in refused.err
    with (several / "tool/buildpack.toml").open("a") as file:
        file.write('[[targets]]\nos = "linux"\n[[targets.distros]]\nname = "debian"\nversion = "13"\n')
    cli.ok("buildpack", "package", "acme/x", "-p", "tool", "-t", f"linux/{own}:debian@13", cwd=several)
    refused = cli("buildpack", "package", "acme/x", "-p", "tool", "-t", f"linux/{own}:ubuntu@24.04", cwd=several)
    assert refused.code == 2
    assert f"acme/tool@1.0.0 is not for linux/{own}:ubuntu@24.04" in " ".join(refused.err.split())
    assert f"--target linux/{own}:debian@13" in refused.err

    (several / "builder.toml").write_text(
        '[build]\nimage = "debian:13"\n[[buildpacks]]\nuri = "tool"\n[[order]]\n[[order.group]]\nid = "acme/tool"\n'
    )
    cli.ok("builder", "create", "acme/distributed", "-t", f"linux/{own}:debian@13", cwd=several)
    cli.ok("build", "distributed", "-p", "app", "-B", "acme/distributed", cwd=several)
    assert cli.ok("run", "distributed").out.splitlines()[0] == "for debian"
    refused = cli("builder", "create", "acme/distributed", "-t", f"linux/{own}:debian@12", cwd=several)
    assert refused.code == 2
    assert "the builder cannot be for debian@12" in refused.err


@pytest.fixture
def whole(cli: Cli, app: Path) -> Path:
    """A composite's package with its member, as an archive: whole.tar, acme/whole:1 in it."""
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", cwd=app)
    cli.ok("buildpack", "package", "oci-archive:whole.tar:1", "-p", "all", cwd=app)
    return app


def again(cli: Cli, name: str, cwd: Path) -> bytes:
    """What the store has under a name, saved as whole.tar was."""
    cli.ok("save", name, "-o", "oci-archive:back.tar:1", cwd=cwd)
    return (cwd / "back.tar").read_bytes()


@pytest.mark.cnb("DST-01", "DST-07")
def test_a_package_is_the_same_to_the_byte_when_it_is_made_or_read_again(cli: Cli, whole: Path) -> None:
    first = (whole / "whole.tar").read_bytes()
    cli.ok("buildpack", "package", "oci-archive:second.tar:1", "-p", "all", cwd=whole)
    assert (whole / "second.tar").read_bytes() == first
    cli.ok("buildpack", "package", "acme/whole:1", "-p", "all", cwd=whole)
    assert again(cli, "acme/whole:1", whole) == first
    cli.ok("save", "oci-archive:whole.tar", "-o", "oci:layout:1", cwd=whole)
    cli.ok("save", "oci:layout", "-o", "oci-archive:back.tar:1", cwd=whole)
    assert (whole / "back.tar").read_bytes() == first
    cli.ok("save", "oci-archive:whole.tar", "-o", "docker-archive:docker.tar", cwd=whole)
    cli.ok("save", "docker-archive:docker.tar", "-o", "oci-archive:back.tar:1", cwd=whole)
    assert (whole / "back.tar").read_bytes() == first


@pytest.mark.registry
@pytest.mark.cnb("DST-01", "DST-07")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_registry_gives_a_package_back_as_it_was(cli: Cli, whole: Path, compression: str) -> None:
    (whole / "registry").mkdir()
    with real_registry(whole / "registry") as registry:
        name = f"{registry.host}/acme/whole:1"
        send = ("buildpack", "package", name, "-p", "all", "--push", "--compression", compression)
        sent = cli.ok(*send, cwd=whole).digest
        assert cli.ok(*send, cwd=whole).digest == sent
        cli.ok("rm", "--yes", name)
        cli.ok("buildpack", "pull", name)
        found = json.loads(cli.ok("buildpack", "inspect", name, "--json", cwd=whole).out)
        there = json.loads(cli.ok("buildpack", "inspect", "whole.tar", "--json", cwd=whole).out)
        assert found["digest"] == sent
        assert found["contents"] == there["contents"]
        again(cli, name, whole)
        saved = json.loads(cli.ok("buildpack", "inspect", "back.tar", "--json", cwd=whole).out)
        assert (saved["digest"], saved["contents"]) == (sent, found["contents"])


@pytest.mark.docker
@pytest.mark.cnb("DST-01", "DST-07")
def test_a_docker_engine_gives_a_package_back_as_it_was(cli: Cli, whole: Path, docker_host: str) -> None:
    cli.ok("buildpack", "package", "acme/whole:1", "-p", "all", cwd=whole)
    cli.ok("load", "acme/whole:1", "--docker-host", docker_host)
    cli.ok("rm", "--yes", "acme/whole:1")
    cli.ok("pull", "docker:acme/whole:1", "--docker-host", docker_host)
    assert again(cli, "acme/whole:1", whole) == (whole / "whole.tar").read_bytes()


def test_inspect_shows_orders_within_orders(cli: Cli, app: Path) -> None:
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", cwd=app)
    cli.ok("buildpack", "package", "all.cnb", "-p", "all", "-t", "linux/arm64", cwd=app)
    shown = cli.ok("buildpack", "inspect", "all.cnb", cwd=app).out
    assert "acme/all@1.0.0   buildpack   linux/arm64" in shown
    assert "  order       group 1\n                acme/tool 1.0.0\n" in shown


def test_what_goes_wrong_leaves_nothing(cli: Cli, app: Path) -> None:
    ended = cli("buildpack", "package", "all.cnb", "-p", "all", cwd=app)
    assert ended.code != 0
    assert "tool.cnb" in ended.err
    assert not (app / "all.cnb").exists()
    for arguments, why in (
        (("x.cnb", "-p", "tool", "--push"), "is a file"),
        (("acme/x", "-p", "tool", "-t", "linux/amd64", "-t", "linux/amd64"), "twice"),
        (("docker-archive:x", "-p", "tool", "-t", "linux/amd64", "-t", "linux/arm64"), "one-platform"),
        (("acme/x", "-p", "tool", "-t", "windows/amd64"), "for linux"),
        (("acme/x", "-p", "nowhere"), "no directory"),
    ):
        refused = cli("buildpack", "package", *arguments, cwd=app)
        assert refused.code != 0
        assert why in refused.err


@pytest.mark.cnb("IMG-09", "IMG-12")
def test_a_builder_of_ones_own(cli: Cli, app: Path) -> None:
    cli.ok("buildpack", "package", "tool.cnb", "-p", "tool", cwd=app)
    (app / "builder.toml").write_text(
        '[[buildpacks]]\nuri = "tool.cnb"\n[[buildpacks]]\nuri = "all"\n[[order]]\n[[order.group]]\nid = "acme/all"\n'
        '[build]\nimage = "debian:13"\n'
    )
    made = cli.ok("builder", "create", "acme/builder", "--output", "oci:builder", cwd=app)
    assert cli.ok("builder", "create", "acme/builder", cwd=app).digest == made.digest
    facts = json.loads(cli.ok("builder", "inspect", "acme/builder", "--json", cwd=app).out)
    assert facts["buildpacks"] == [{"id": "acme/all", "version": "1.0.0"}, {"id": "acme/tool", "version": "1.0.0"}]
    digests = {
        cli.ok("build", "own-builder", "-p", "app", "--builder", builder, cwd=app).digest
        for builder in ("acme/builder", "oci:builder")
    }
    assert digests == {
        cli.ok("build", "own-builder", "-p", "app", "-b", "acme/tool", "--builder", "acme/builder", cwd=app).digest
    }
    assert cli.ok("run", "own-builder").out == "from the application"


@pytest.mark.parametrize(
    ("place", "why"),
    [("gone.cnb", "there is no file gone.cnb"), ("./tool", "buildpack validate"), ("ftp://x/y", "ftp://")],
)
def test_inspect_names_what_is_no_package(cli: Cli, app: Path, place: str, why: str) -> None:
    ended = cli("buildpack", "inspect", place, cwd=app)
    assert ended.code != 0
    assert why in ended.err


@pytest.mark.registry
def test_a_builder_that_only_this_machine_can_use_is_warned_about(cli: Cli, app: Path) -> None:
    (app / "builder.toml").write_text(
        '[[buildpacks]]\nuri = "./tool"\n[[order]]\n[[order.group]]\nid = "acme/tool"\n[build]\nimage = "debian:13"\n'
    )
    (app / "registry").mkdir()
    with real_registry(app / "registry") as registry:
        sent = cli.ok("builder", "create", f"{registry.host}/acme/builder:1", "--push", cwd=app)
    told = " ".join(sent.err.split())
    assert "the builder has no lifecycle, which other platforms need" in told
    assert "no other machine has the builder's run image, localhost/packrunner/debian:13-python" in told
    assert "try: a [recipe] in builder.toml" in told
