"""Applications built with builders of others: through the installed command, in sandboxes, as root and as nobody.

The builders are made of Debian's run image in the shapes that are met in the world (tests/builders.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.images.image import Image, Layer
from packrunner.images.layer import Dir, File, Part
from packrunner.images.layout_write import write_layout
from packrunner.images.store import LocalStore
from packrunner.names import Digest
from tests import builders
from tests.builders import MIRROR, RUN_IMAGE, Buildpack
from tests.rawtar import entry, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Cli, Ended
    from tests.services import RegistryService

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

DEBIAN = "localhost/packrunner/debian:13-python"
BIONIC = "io.buildpacks.stacks.bionic"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").write_text("of the application\n")
    return tmp_path / "app"


def debian(cli: Cli, source: Path) -> Image:
    """Debian's run image, made by a first build."""
    store = LocalStore(os.path.join(cli.home, "data", "store"))
    stored = store.read(DEBIAN)
    if stored is None:
        says = source.parent / "first"
        buildpack(says, "acme/first")
        cli.ok("build", "first", "-p", str(source), "-b", str(says))
        stored = store.read(DEBIAN)
    assert stored
    return stored.image


def put(cli: Cli, source: Path, name: str, make: Callable[[LocalStore, Image], Image], **labels: str) -> Image:
    """A builder in the command's store, with its run image beside it."""
    base = debian(cli, source)
    store = LocalStore(os.path.join(cli.home, "data", "store"))
    with store.lease():
        store.write(base.with_labels({"io.buildpacks.base.distro.name": "debian", **labels}), [RUN_IMAGE])
        image = make(store, base)
        store.write(image, [name])
    if cli.prefix:
        subprocess.run(["chown", "-R", "--reference", cli.home, cli.home], check=True)
    return image


def buildpack(place: Path, identity: str, build: str = builders.SAYS) -> None:
    """A buildpack of one's own."""
    (place / "bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text(f'api = "0.10"\n[buildpack]\nid = "{identity}"\nversion = "1.0.0"\n')
    for name, content in (("detect", builders.PASSES), ("build", builders.script(build, identity, "1.0.0", "0.10"))):
        (place / "bin" / name).write_text(content)
        (place / "bin" / name).chmod(0o755)


def label(cli: Cli, name: str, key: str) -> dict[str, Any]:
    labels = json.loads(cli.ok("inspect", name, "--json").out)["labels"]
    found: dict[str, Any] = json.loads(labels[f"io.buildpacks.{key}"])
    return found


def said(ended: Ended) -> list[str]:
    return re.findall(r"(?m)^\S+ \| (.*)$", ended.err)


@pytest.mark.cnb("IMG-01", "IMG-04", "IMG-07", "IMG-13", "BPD-06", "STK-01", "STK-03", "EXP-18", "EXP-22")
def test_composites_and_targets(cli: Cli, source: Path) -> None:
    put(cli, source, "theirs/paketo", builders.paketo_like)
    args = ("build", "with-paketo", "-p", str(source), "-B", "theirs/paketo")
    first = cli.ok(*args)
    assert said(first) == [
        "paketo-like/cpython: 1002:1003 home=/home/cnb stack=io.buildpacks.stacks.noble operator= target="
    ]
    assert "warning" not in first.err
    ran = cli.ok("run", "with-paketo").out
    assert ran == "paketo-like/cpython@1.13.1 of the application\n1000\n"
    page = json.loads(cli.ok("inspect", "with-paketo", "--json").out)
    assert page["env"]["CNB_PLATFORM_API"] == "0.13"
    assert "io.buildpacks.exec-env" not in page["labels"]
    assert "io.buildpacks.stack.id" not in page["labels"]  # the run image has none, and the builder's is not its
    recorded = label(cli, "with-paketo", "lifecycle.metadata")["runImage"]
    assert (recorded["image"], recorded["mirrors"]) == (RUN_IMAGE, [MIRROR])
    assert [b["id"] for b in label(cli, "with-paketo", "build.metadata")["buildpacks"]] == ["paketo-like/cpython"]
    again = cli.ok(*args)
    assert again.err.startswith("Nothing changed")
    assert again.digest == first.digest
    put(cli, source, "theirs/paketo", builders.heroku_like)
    assert not cli.ok(*args).err.startswith("Nothing changed")


@pytest.mark.cnb("IMG-08", "BPD-11", "DET-09", "IMG-10")
def test_system_buildpacks_and_operators_variables(cli: Cli, source: Path) -> None:
    put(cli, source, "theirs/heroku", builders.heroku_like)
    ended = cli.ok("build", "with-heroku", "-p", str(source), "-B", "theirs/heroku")
    assert said(ended) == [
        "heroku-like/say: 1002:1003 home=/home/cnb stack= operator=of the builder target=",
        "heroku-like/always: 1002:1003 home=/home/cnb stack= operator=of the builder target=debian",
    ]
    ended = cli.ok("build", "plain", "-p", str(source), "-B", "theirs/heroku", "-e", "OPERATOR=mine")
    assert all("operator=mine" in line for line in said(ended))


@pytest.mark.cnb("STK-01", "STK-02", "STK-04", "IMG-07", "IMG-13", "EXP-29")
def test_a_builder_from_before_targets(cli: Cli, source: Path) -> None:
    args = ("build", "with-old", "-p", str(source), "-B", "theirs/old")
    put(cli, source, "theirs/old", builders.old)
    refused = cli(*args)
    assert refused.code == 2
    assert "error[run-image-mixins]" in refused.err
    assert "the run image lacks libpq" in refused.err
    stack = {"io.buildpacks.stack.id": BIONIC, "io.buildpacks.stack.mixins": '["libpq", "run:x"]'}
    put(cli, source, "theirs/old", builders.old, **stack)
    ended = cli.ok(*args)
    assert said(ended) == [f"old/say: 1002:1003 home=/home/cnb stack={BIONIC} operator= target="]
    assert "warning" not in ended.err
    page = json.loads(cli.ok("inspect", "with-old", "--json").out)
    assert page["env"]["CNB_PLATFORM_API"] == "0.8"
    assert page["labels"]["io.buildpacks.stack.id"] == BIONIC
    assert label(cli, "with-old", "lifecycle.metadata")["stack"]["runImage"]["image"] == RUN_IMAGE
    assert cli.ok("run", "with-old").out == "old/say@1.0.0 of the application\n1000\n"
    put(cli, source, "theirs/old", builders.old, **{**stack, "io.buildpacks.stack.id": "another"})
    ended = cli.ok(*args)
    assert "the run image is of the stack another" in ended.err


def test_buildpacks_of_all_kinds_together(cli: Cli, source: Path, tmp_path: Path) -> None:
    put(cli, source, "theirs/heroku", builders.heroku_like)
    mine = tmp_path / "mine"
    buildpack(mine, "acme/mine", "#!/bin/sh\nls /cnb/buildpacks; touch /cnb/buildpacks/x 2>/dev/null || echo sealed\n")
    args = ("build", "mixed", "-p", str(source), "-B", "theirs/heroku", "-b", str(mine), "-b", "from=builder")
    ended = cli.ok(*args)
    assert said(ended)[:4] == ["acme_mine", "heroku-like_always", "heroku-like_say", "sealed"]
    assert len(said(ended)) == 6
    assert cli.ok(*args).err.startswith("Nothing changed")
    replaced = tmp_path / "replaced"
    buildpack(replaced, "heroku-like/say", "#!/bin/sh\necho instead of theirs\n")
    ended = cli.ok("build", "mixed", "-p", str(source), "-B", "theirs/heroku", "-b", str(replaced))
    assert said(ended)[0] == "instead of theirs"


@pytest.mark.cnb("BPD-12", "EXT-05", "EXT-06", "EXT-08", "IMG-13")
@pytest.mark.parametrize("api", ["0.12", "0.14"])
def test_an_extension_of_the_builder_chooses_its_run_image(cli: Cli, source: Path, api: str) -> None:
    where = "/cnb/extensions/theirs_ext/1.0.0"
    generate = f"#!/bin/sh\necho 'FROM {RUN_IMAGE}' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"\n"
    detect = '#!/bin/sh\nprintf \'[[provides]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"\n'
    extension: list[Part] = [
        Dir(target="/cnb/extensions/theirs_ext"),
        Dir(target=where),
        builders.toml(
            f"{where}/extension.toml", {"api": "0.10", "extension": {"id": "theirs/ext", "version": "1.0.0"}}
        ),
        Dir(target=f"{where}/bin"),
        File(target=f"{where}/bin/detect", data=detect.encode(), mode=0o755),
        File(target=f"{where}/bin/generate", data=generate.encode(), mode=0o755),
    ]
    needs = '#!/bin/sh\nprintf \'[[requires]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"\n'
    member = Buildpack(id="theirs/needs", api="0.10", detect=needs)

    def make(store: LocalStore, base: Image) -> Image:
        described = builders.metadata([member], lifecycle={"apis": {"platform": {"supported": [api]}}})
        image = builders.pack_made(store, base, [member], [["theirs/needs"]], files=extension, label=described)
        orders = json.dumps(builders.groups([["theirs/ext@1.0.0"]]))
        return image.with_labels({"io.buildpacks.buildpack.order-extensions": orders})

    put(cli, source, "theirs/extended", make)
    ended = cli.ok("build", "extended-by-theirs", "-p", str(source), "-B", "theirs/extended")
    assert "warning" not in ended.err
    assert label(cli, "extended-by-theirs", "lifecycle.metadata")["runImage"]["image"] == RUN_IMAGE
    build = label(cli, "extended-by-theirs", "build.metadata")
    assert [e["id"] for e in build["extensions"]] == ["theirs/ext"]


def test_a_builder_in_a_layout_named_by_project_toml(cli: Cli, source: Path) -> None:
    image = put(cli, source, "theirs/heroku", builders.heroku_like)
    store = LocalStore(os.path.join(cli.home, "data", "store"))
    write_layout(str(source.parent / "builder"), image, store, "latest")
    (source / "project.toml").write_text(
        '[_]\nschema-version = "0.2"\nid = "x"\n[io.buildpacks]\nbuilder = "oci:../builder"\n'
    )
    args = ("build", "by-layout", "-p", str(source))
    assert "engine sandbox" in cli.ok(*args).err
    again = cli.ok(*args)
    assert again.err.startswith("Nothing changed")
    shutil.rmtree(source.parent / "builder")
    assert cli(*args).code == 2


def without_python(store: LocalStore, base: Image) -> Image:
    """A builder on a base from which a layer takes python3."""
    data = tar(entry("usr/bin/.wh.python3"))
    layer = Layer(diff_id=Digest("sha256:" + hashlib.sha256(data).hexdigest()), blob=store.add(data))
    return builders.heroku_like(store, base.with_layers(layer))


def test_a_python_buildpack_on_a_build_image_without_python(cli: Cli, source: Path) -> None:
    put(cli, source, "theirs/no-python", without_python)
    args = ("build", "py", "-p", str(source), "-B", "theirs/no-python")
    refused = cli(*args, "-b", "python")
    assert refused.code == 2
    assert "error[builder-python]: python cannot run in theirs/no-python: it has no python3" in refused.err
    assert "detect" not in refused.err.replace("before detect", "")
    assert "--builder debian:13" in refused.err
    assert cli.ok(*args).digest


@pytest.mark.cnb("IMG-01", "IMG-13")
def test_builders_that_cannot_be_one(cli: Cli, source: Path) -> None:
    def newer(store: LocalStore, base: Image) -> Image:
        lifecycle = {"apis": {"platform": {"supported": ["9.1"]}}}
        return builders.pack_made(store, base, [], [["a"]], label=builders.metadata([], lifecycle=lifecycle))

    put(cli, source, "theirs/newer", newer)
    refused = cli("build", "x", "-p", str(source), "-B", "theirs/newer")
    assert refused.code == 11
    assert "it supports 9.1; packrunner supports 0.7," in refused.err
    refused = cli("build", "x", "-p", str(source), "-B", RUN_IMAGE)
    assert refused.code == 2
    assert "error[not-a-builder]" in refused.err
    put(
        cli,
        source,
        "theirs/arm",
        lambda store, base: Image(architecture="arm64", env=builders.heroku_like(store, base).env, layers=base.layers),
    )
    refused = cli("build", "x", "-p", str(source), "-B", "theirs/arm")
    assert "error[builder-platform]" in refused.err


@pytest.mark.cnb("RES-05", "RBS-02")
def test_the_mirror_stands_in_for_the_run_image(cli: Cli, source: Path) -> None:
    put(cli, source, "theirs/heroku", builders.heroku_like)
    store = LocalStore(os.path.join(cli.home, "data", "store"))
    stored = store.read(RUN_IMAGE)
    assert stored
    store.write(stored.image, [MIRROR])
    store.remove(RUN_IMAGE)
    args = ("build", "mirrored", "-p", str(source), "-B", "theirs/heroku", "--pull-policy", "never")
    cli.ok(*args)
    recorded = label(cli, "mirrored", "lifecycle.metadata")["runImage"]
    assert recorded["image"] == RUN_IMAGE
    assert recorded["reference"].startswith(MIRROR + "@sha256:")
    assert cli.ok("rebase", "mirrored").code == 0
    store.remove(MIRROR)
    refused = cli(*args)
    assert refused.code == 2
    assert "error[builder-run-image]" in refused.err
    assert MIRROR in refused.err


def test_the_same_image_for_an_ordinary_user(cli: Cli, ordinary: Cli, source: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(source, nobody.pw_uid, nobody.pw_gid)
    for parent in (source, *source.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    digests = set()
    for user in (cli, ordinary):
        put(user, source, "theirs/same", builders.heroku_like)
        digests.add(user.ok("build", "same", "-p", str(source), "-B", "theirs/same", "--clear-cache").digest)
        assert user.ok("run", "same").out.endswith("1000\n")
    assert len(digests) == 1


@pytest.mark.docker
@pytest.mark.cnb("IMG-01", "BPD-11")
def test_containers_make_the_same_image(cli: Cli, docker_host: str, source: Path, tmp_path: Path) -> None:
    put(cli, source, "theirs/heroku", builders.heroku_like)
    replaced = tmp_path / "replaced"
    buildpack(replaced, "heroku-like/say")
    (replaced / "only-mine").write_text("")
    builds = "#!/bin/sh\nls /cnb/buildpacks /cnb/buildpacks/heroku-like_say/1.0.0\n"
    buildpack(tmp_path / "mine", "acme/mine", builds)
    added = ("-b", str(tmp_path / "mine"), "-b", str(replaced), "-b", "heroku-like/always")
    digests, seen = set(), []
    for engine in ("sandbox", "docker"):
        args = ("build", "by-engine", "-p", str(source), "-B", "theirs/heroku", "--network", "none", "--clear-cache")
        ended = cli.ok(*args, *added, "--engine", engine, "--docker-host", docker_host)
        digests.add(ended.digest)
        seen.append(said(ended))
    assert len(digests) == 1
    assert seen[0] == seen[1]
    assert {"acme_mine", "heroku-like_always", "heroku-like_say", "only-mine"} <= set(seen[1])


@pytest.mark.docker
@pytest.mark.cnb("IMG-07", "RES-05")
def test_a_builder_of_a_docker_engine_brings_its_run_image_from_there(
    cli: Cli, docker_host: str, source: Path, tmp_path: Path
) -> None:
    put(cli, source, "theirs/heroku", builders.heroku_like)
    first = cli.ok("build", "from-store", "-p", str(source), "-B", "theirs/heroku", DOCKER_HOST=docker_host)
    for name in ("theirs/heroku", RUN_IMAGE):
        cli.ok("load", name, DOCKER_HOST=docker_host)
    elsewhere = type(cli)(home=str(tmp_path / "elsewhere"), env={"DOCKER_HOST": docker_host})
    ended = elsewhere.ok("build", "from-store", "-p", str(source), "-B", "docker:theirs/heroku")
    assert ended.digest == first.digest
    assert "theirs/heroku" in elsewhere.ok("builder", "inspect", "docker:theirs/heroku").out


@pytest.mark.registry
@pytest.mark.cnb("IMG-07", "RES-05")
def test_a_builder_of_a_registry_and_its_mirror_there(
    cli: Cli, image_registry: RegistryService, source: Path, tmp_path: Path
) -> None:
    there = f"{image_registry.host}/theirs"
    mirror = f"{there}/run:1"

    def make(store: LocalStore, base: Image) -> Image:
        store.write(base, [mirror])
        image = builders.heroku_like(store, base)
        return image.with_labels(
            {
                "io.buildpacks.builder.metadata": json.dumps(
                    builders.metadata([], images=[{"image": RUN_IMAGE, "mirrors": [mirror]}])
                )
            }
        )

    put(cli, source, f"{there}/builder", make)
    for name in (f"{there}/builder", mirror):
        cli.ok("push", name)
    elsewhere = type(cli)(home=str(tmp_path / "elsewhere"))
    args = ("build", f"{image_registry.host}/mine/shop", "-p", str(source), "-B", f"{there}/builder")
    ended = elsewhere.ok(*args)
    assert said(ended)[0].startswith("heroku-like/say: 1002:1003")
    recorded = label(elsewhere, f"{image_registry.host}/mine/shop", "lifecycle.metadata")["runImage"]
    assert (recorded["image"], recorded["mirrors"]) == (RUN_IMAGE, [mirror])
    assert recorded["reference"].startswith(f"{mirror}@sha256:")
    assert elsewhere.ok(*args).err.startswith("Nothing changed")
    assert f"{there}/builder" in elsewhere.ok("builder", "inspect", f"{there}/builder").out
