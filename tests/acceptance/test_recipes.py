"""Builders with packages of one's own: made without Docker and root, built with, rebased, sent around and read back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packrunner.images.store import LocalStore
from packrunner.images.transfer import parse_locator, read_image
from tests.acceptance.conftest import Cli
from tests.real_registry import real_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.image import Image
    from tests.acceptance.conftest import Ended
    from tests.real_registry import RealRegistry

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

LABELS = ("builder.metadata", "buildpack.layers", "buildpack.order", "buildpack.order-extensions", "buildpack.system")
BUILDER = """\
description = "ours"

[recipe]
suite = "debian:13"

[recipe.user]
name = "app"
uid = 2000
gid = 3000

[recipe.build]
variant = "base"
essential = false
packages = ["jq"]

[[recipe.run]]
image = "{run}"
packages = ["jq"]

[[buildpacks]]
uri = "./query"

[[buildpacks]]
uri = "./always"

[[order]]
[[order.group]]
id = "acme/query"

[[system.post.buildpacks]]
id = "acme/always"
"""
BUILD = """#!/bin/sh
set -e
jq --raw-output .name data.json
id -u
mkdir "$CNB_LAYERS_DIR/tool"
jq '.name' data.json > "$CNB_LAYERS_DIR/tool/made"
printf '[types]\\nlaunch = true\\n' > "$CNB_LAYERS_DIR/tool.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<X
[[processes]]
type = "web"
command = ["/bin/sh", "-c", "jq --raw-output .name data.json; id -un; cat $CNB_LAYERS_DIR/tool/made"]
default = true
X
"""


def team(root: Path, run: str) -> Path:
    """The directory of a platform team: builder.toml and two buildpacks; and an application."""
    for name, build in (("query", BUILD), ("always", "#!/bin/sh\n")):
        (root / name / "bin").mkdir(parents=True)
        (root / name / "buildpack.toml").write_text(
            f'api = "0.12"\n[buildpack]\nid = "acme/{name}"\nversion = "1.0.0"\n[[targets]]\nos = "linux"\n'
        )
        for program, text in (("detect", "#!/bin/sh\n"), ("build", build)):
            (root / name / "bin" / program).write_text(text)
            (root / name / "bin" / program).chmod(0o755)
    (root / "builder.toml").write_text(BUILDER.format(run=run))
    (root / "app").mkdir()
    (root / "app/data.json").write_text('{"name": "shop"}')
    return root


class Team:
    """A builder that was made and put out everywhere, with the command that made it."""

    def __init__(self, cli: Cli, root: Path) -> None:
        self.cli = cli
        self.root = root
        self.made = self.create()

    def create(self, *more: str) -> Ended:
        """Make it."""
        outputs = [f"oci:{self.root}/out", f"oci-archive:{self.root}/oci.tar", f"docker-archive:{self.root}/docker.tar"]
        words = [word for output in outputs for word in ("-o", output)]
        return self.cli.ok("builder", "create", "acme/team", "-c", str(self.root / "builder.toml"), *words, *more)

    @property
    def image(self) -> Image:
        """The builder in the store."""
        return self.at("acme/team")

    def at(self, name: str) -> Image:
        """An image of the store."""
        found = LocalStore(os.path.join(self.cli.home, "data", "store")).read(name)
        assert found, name
        return found.image


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Team:
    root = team(tmp_path_factory.mktemp("team"), "acme/run:1")
    return Team(Cli(home=str(tmp_path_factory.mktemp("builders"))), root)


def labels(image: Image) -> dict[str, str]:
    return {name: image.labels[f"io.buildpacks.{name}"] for name in LABELS}


def same(image: Image, other: Image) -> None:
    """What makes an image: its configuration to the byte, and the content of its layers."""
    assert image.config.digest == other.config.digest
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in other.layers]
    assert dict(image.labels) == dict(other.labels)


@pytest.mark.cnb("IMG-01", "IMG-09", "IMG-10", "IMG-11")
def test_all_labels_and_variables_are_there(ours: Team) -> None:
    image = ours.image
    found = {name: json.loads(text) for name, text in labels(image).items()}
    assert found["builder.metadata"]["stack"]["runImage"] == {"image": "acme/run:1"}
    assert found["builder.metadata"]["images"] == [{"image": "acme/run:1"}]
    assert [one["id"] for one in found["builder.metadata"]["buildpacks"]] == ["acme/always", "acme/query"]
    assert found["buildpack.order"] == [{"group": [{"id": "acme/query", "version": "1.0.0"}]}]
    assert found["buildpack.system"] == {
        "pre": {"buildpacks": []},
        "post": {"buildpacks": [{"id": "acme/always", "version": "1.0.0"}]},
    }
    diff_ids = {str(layer.diff_id) for layer in image.layers}
    for identity in ("acme/query", "acme/always"):
        assert found["buildpack.layers"][identity]["1.0.0"]["layerDiffID"] in diff_ids
    assert (image.get_env("CNB_USER_ID"), image.get_env("CNB_GROUP_ID")) == ("2000", "3000")
    assert (image.user, image.working_dir) == ("2000:3000", "/layers")
    assert image.labels["io.buildpacks.base.distro.name"] == "debian"
    assert image.labels["io.buildpacks.base.distro.version"] == "13"


@pytest.mark.cnb("IMG-12")
def test_it_is_read_back_to_the_byte(ours: Team, tmp_path: Path) -> None:
    own = LocalStore(os.path.join(ours.cli.home, "data", "store"))
    for place in (f"oci:{ours.root}/out", f"oci-archive:{ours.root}/oci.tar"):
        other = LocalStore(str(tmp_path / place.partition(":")[0]))
        with other.lease():
            found = read_image(parse_locator(place), other)
            assert found.digest == ours.made.digest
            for digest in (layer.blob.digest for layer in found.layers):
                assert Path(other.blob_path(digest)).read_bytes() == Path(own.blob_path(digest)).read_bytes()
    for there in own.blob_path(ours.image.digest), f"{ours.root}/out/blobs/sha256/{ours.made.digest[7:]}":
        assert hashlib.sha256(Path(there).read_bytes()).hexdigest() == ours.made.digest[7:]
    other = LocalStore(str(tmp_path / "docker"))
    with other.lease():
        same(read_image(parse_locator(f"docker-archive:{ours.root}/docker.tar"), other), ours.image)


def test_another_machine_makes_the_same_of_the_lock(ours: Team, tmp_path: Path) -> None:
    shutil.copytree(ours.root, tmp_path / "copy", ignore=shutil.ignore_patterns("out", "*.tar"))
    ours.cli.ok("builder", "lock", cwd=tmp_path / "copy")
    other = Cli(home=str(tmp_path / "home"))
    made = other.ok("builder", "create", "acme/team", cwd=tmp_path / "copy")
    assert made.digest == ours.made.digest
    assert other.ok("builder", "lock", "--check", cwd=tmp_path / "copy").out.startswith("builder.lock@sha256:")


def test_an_ordinary_user_makes_the_same_and_builds_with_it(ours: Team, ordinary: Cli, tmp_path: Path) -> None:
    shutil.copytree(ours.root, tmp_path / "copy", ignore=shutil.ignore_patterns("out", "*.tar", "*.lock"))
    for parent in (tmp_path / "copy", tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o755)
    made = ordinary.ok("builder", "create", "acme/team", "-c", str(tmp_path / "copy/builder.toml"))
    assert made.digest == ours.made.digest
    ordinary.ok("build", "shop", "-p", str(tmp_path / "copy/app"), "--builder", "acme/team")
    assert ordinary.ok("run", "shop").out == 'shop\napp\n"shop"\n'


def test_an_application_is_built_run_and_rebased(ours: Team, tmp_path: Path) -> None:
    app = str(ours.root / "app")
    built = ours.cli.ok("build", "shop", "-p", app, "--builder", "acme/team")
    assert "query | shop\n" in built.err
    assert "query | 2000\n" in built.err
    assert ours.cli.ok("run", "shop").out == 'shop\napp\n"shop"\n'
    kept = [layer.diff_id for layer in ours.at("shop").layers[1:]]
    text = (ours.root / "builder.toml").read_text()
    try:
        # What newer packages do, another recipe of the same name does too.
        changed = text.replace(
            '[[recipe.run]]\nimage = "acme/run:1"\npackages = [',
            '[[recipe.run]]\nimage = "acme/run:1"\npackages = ["tzdata-legacy", ',
        )
        assert changed != text
        (ours.root / "builder.toml").write_text(changed)
        update = ours.cli.ok("builder", "update", "acme/team", "-c", "builder.toml", cwd=ours.root)
        assert "packrunner rebase shop" in " ".join(update.err.split())
        rebased = json.loads(ours.cli.ok("rebase", "shop", "--json").out)
        assert [(one["name"], one["change"]) for one in rebased["packages"]] == [("tzdata-legacy", "new")]
        assert [layer.diff_id for layer in ours.at("shop").layers[1:]] == kept
        assert ours.at("shop").layers[0] == ours.at("acme/run:1").layers[0]
        assert ours.cli.ok("run", "shop").out == 'shop\napp\n"shop"\n'
    finally:
        (ours.root / "builder.toml").write_text(text)
        assert ours.create().digest == ours.made.digest


@pytest.mark.registry
@pytest.mark.cnb("IMG-09", "IMG-11")
def test_a_registry_gives_back_what_it_got(ours: Team, registry: RealRegistry, tmp_path: Path) -> None:
    root = team(tmp_path / "sent", f"{registry.host}/acme/run:1")
    name = f"{registry.host}/acme/team:1"
    words = ("builder", "create", name, "-c", str(root / "builder.toml"), "--push")
    first = ours.cli.ok(*words)
    assert "no other machine" not in first.err
    assert registry.manifest("acme/team", "1")[0] == first.digest
    registry.manifest("acme/run", "1")
    sent = ours.at(name)
    assert ours.cli.ok(*words).digest == first.digest
    other = Cli(home=str(tmp_path / "home"))
    assert other.ok("pull", name).digest == first.digest
    there = LocalStore(os.path.join(other.home, "data", "store")).read(name)
    assert there
    same(there.image, sent)
    assert labels(there.image) == labels(sent)
    # A machine that has neither: builder and run image come from the registry.
    other.ok("build", "shop", "-p", str(root / "app"), "--builder", name)
    ours.cli.ok("build", "shop-sent", "-p", str(root / "app"), "--builder", name)
    theirs = LocalStore(os.path.join(other.home, "data", "store")).read("shop")
    assert theirs
    assert [one.diff_id for one in theirs.image.layers[:-2]] == [
        one.diff_id for one in ours.at("shop-sent").layers[:-2]
    ]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as service:
        yield service


@pytest.mark.docker
@pytest.mark.cnb("IMG-09", "IMG-11")
def test_a_docker_engine_gives_back_what_it_got_and_builds_with_it(
    ours: Team, docker_host: str, tmp_path: Path
) -> None:
    ours.create("--load", "--docker-host", docker_host)
    listed = subprocess.run(
        ["docker", "-H", docker_host, "images", "--format", "{{.Repository}}:{{.Tag}}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {"acme/team:latest", "acme/run:1"} <= {*listed}
    other = Cli(home=str(tmp_path / "home"))
    other.ok("pull", "docker:acme/team", DOCKER_HOST=docker_host)
    there = LocalStore(os.path.join(other.home, "data", "store")).read("acme/team")
    assert there
    same(there.image, ours.image)
    app = str(ours.root / "app")
    sandbox = ours.cli.ok("build", "by-sandbox", "-p", app, "--builder", "acme/team")
    docker = ours.cli.ok(
        "build", "by-docker", "-p", app, "--builder", "acme/team", "--engine", "docker", "--docker-host", docker_host
    )
    assert docker.digest == sandbox.digest
