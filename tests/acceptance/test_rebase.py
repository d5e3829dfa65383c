"""Rebase and builder update by the installed command: on a base with an older package, then brought up to date."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.bases.archive import control, deb, directory, entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

OLD = "0.1"


def lock_of(cli: Cli) -> Path:
    [path] = Path(cli.home).rglob("lock.json")
    return path


def with_package(cli: Cli, version: str) -> None:
    """Let the base be locked to a `netbase` of our own making."""
    path = lock_of(cli)
    made = deb(control("netbase", version), directory("./etc"), entry("./etc/services", f"# {version}\n".encode()))
    sha = hashlib.sha256(made).hexdigest()
    (path.parent.parent / "downloads" / sha).write_bytes(made)
    lock = json.loads(path.read_text())
    for package in lock["packages"]:
        if package["name"] == "netbase":
            package.update(version=version, sha256=sha, size=len(made))
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(lock))
    beside.rename(path)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("app")
    (where / "Procfile").write_text("web: cat /etc/services\n")
    return where


@pytest.fixture(scope="module")
def home(cli: Cli, app: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A home whose base has the old package, with `shop` built on it."""
    cli.ok("build", "for-the-base", "-p", str(app), "-b", "procfile")
    where = tmp_path_factory.mktemp("rebase")
    bases = Path(*lock_of(cli).parts[:-2])
    there = where / bases.relative_to(cli.home)
    shutil.copytree(bases / "downloads", there / "downloads", copy_function=os.link)
    (there / lock_of(cli).parent.name).mkdir(parents=True)
    shutil.copy(lock_of(cli), there / lock_of(cli).parent.name)
    mine = replace(cli, home=str(where))
    with_package(mine, OLD)
    build(mine, app)
    return mine


def build(cli: Cli, app: Path, name: str = "shop", *more: str) -> str:
    return cli.ok("build", name, "-p", str(app), "-b", "procfile", *more).digest


def document(cli: Cli, *argv: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.ok(*argv, "--json").out)
    return found


@pytest.fixture
def old(home: Cli, app: Path) -> Iterator[str]:
    """The digest of `shop`, on the old base; the lock is that of the old base afterwards too."""
    path = lock_of(home)
    before = path.read_bytes()
    yield build(home, app)
    path.write_bytes(before)


@pytest.mark.cnb("RBS-01", "RBS-02", "RBS-08", "RBS-11")
def test_an_image_follows_its_base(home: Cli, app: Path, old: str) -> None:
    assert home.ok("run", "shop").out == "# 0.1\n"
    current = home.ok("rebase", "shop")
    assert (current.digest, current.err.count("\n")) == (old, 1)
    assert "newest debian:13-python already" in current.err
    keep = build(home, app, "kept")
    with_package(home, "7.0")

    made = home.ok("rebase", "shop")
    assert made.out == f"shop@{made.digest}\n"
    assert made.digest != old
    lines = made.err.splitlines()
    assert "1 package newer:" in made.err, made.err
    assert "netbase" in made.err
    assert f"Before: shop@{old[7:19]}" in lines[-1]
    assert home.ok("run", "shop").out == "# 7.0\n"
    assert home.ok("run", "kept").out == "# 0.1\n"

    # What was rebased is what a build from nothing gives; the last build's record does not answer for it.
    again = home.ok("build", "fresh", "-p", str(app), "-b", "procfile", "--clear-cache")
    assert again.digest == made.digest
    after = home.ok("build", "shop", "-p", str(app), "-b", "procfile")
    assert after.digest == made.digest
    assert "Nothing changed" in home.ok("build", "shop", "-p", str(app), "-b", "procfile").err

    # The other one is told so, and rebased elsewhere it stays as it is.
    shown = home.ok("inspect", "kept").out
    assert "packrunner rebase kept" in shown
    assert "newer base" not in home.ok("inspect", "shop").out
    facts = document(home, "rebase", "kept", "-t", "kept:new", "-t", "kept:newer")
    assert facts["digest"] == made.digest
    assert facts["packages"] == [
        {"name": "netbase", "source": "netbase", "change": "newer", "old": OLD, "new": "7.0", "security": None}
    ]
    assert document(home, "inspect", "kept")["digest"] == keep
    assert document(home, "inspect", "kept:new")["digest"] == facts["digest"]
    assert document(home, "inspect", "kept:newer")["digest"] == facts["digest"]


@pytest.mark.parametrize("place", ["oci:dir", "oci-archive:oci.tar", "docker-archive:docker.tar"])
def test_files_are_rebased_in_their_place(home: Cli, app: Path, old: str, place: str, tmp_path: Path) -> None:
    kind, _, name = place.partition(":")
    locator = f"{kind}:{tmp_path / name}"
    home.ok("build", "filed", "-p", str(app), "-b", "procfile", "--rebuild", "--output", locator)
    with_package(home, "8.0")
    made = home.ok("rebase", locator)
    assert home.ok("run", locator).out == "# 8.0\n"
    assert document(home, "inspect", locator)["digest"] == made.digest
    if shutil.which("skopeo"):
        listed = subprocess.run(["skopeo", "inspect", locator], capture_output=True, check=True)
        assert json.loads(listed.stdout)["Os"] == "linux"
    elsewhere = f"oci:{tmp_path / 'elsewhere'}"
    home.ok("rebase", "filed", "-t", elsewhere)
    assert document(home, "inspect", elsewhere)["digest"] == made.digest


def test_an_archive_of_several_images_is_left_alone(home: Cli, old: str, tmp_path: Path) -> None:
    layout = f"oci:{tmp_path / 'two'}"
    home.ok("rebase", "shop", "-t", f"{layout}:a", "-t", f"{layout}:b")
    with_package(home, "9.0")
    made = home.ok("rebase", f"{layout}:a")
    assert document(home, "inspect", f"{layout}:a")["digest"] == made.digest
    assert document(home, "inspect", f"{layout}:b")["digest"] != made.digest
    subprocess.run(["tar", "-C", str(tmp_path / "two"), "-cf", str(tmp_path / "two.tar"), "."], check=True)
    refused = home("rebase", f"oci-archive:{tmp_path / 'two.tar'}:b")
    assert (refused.code, "error[image-shared]" in refused.err) == (2, True)


@pytest.mark.cnb("RBS-03", "RBS-04")
def test_another_base_needs_force(home: Cli, app: Path, old: str, tmp_path: Path) -> None:
    other = f"oci:{tmp_path / 'base'}"
    home.ok("build", "below", "-p", str(app), "-b", "procfile", "--output", other)
    refused = home("rebase", "shop", "--run-image", other, "-t", "forced")
    assert (refused.code, "error[rebase-name]" in refused.err) == (72, True)
    home.ok("rebase", "shop", "--run-image", other, "-t", "forced", "--force")
    label = json.loads(document(home, "inspect", "forced")["labels"]["io.buildpacks.lifecycle.metadata"])
    assert label["runImage"]["image"] == other


def test_what_is_no_application_is_refused(home: Cli, old: str) -> None:
    refused = home("rebase", "localhost/packrunner/debian:13-python", "-t", "x")
    assert (refused.code, "error[rebase-image]" in refused.err) == (72, True)
    refused = home("rebase", "shpo")
    assert (refused.code, "error[unknown-image]" in refused.err) == (2, True)
    refused = home("rebase", old)
    assert (refused.code, "--tag" in refused.err) == (2, True)


def test_a_builder_is_updated(home: Cli, app: Path, old: str) -> None:
    lock = lock_of(home)
    before = lock.read_bytes()
    build(home, app, "kept")
    seen = document(home, "builder", "update", "--dry-run")
    assert lock.read_bytes() == before
    assert (seen["changed"], seen["newer"]) == (False, True)
    [change] = [one for one in seen["images"]["python"] if one["name"] == "netbase"]
    assert (change["change"], change["old"]) == ("newer", OLD)
    assert home.ok("rebase", "shop").digest == old

    made = home.ok("builder", "update")
    assert "note: python: 1 package newer: netbase" in made.err
    assert "packrunner rebase" in made.err
    assert made.out == f"debian:13@{seen['after']}\n"
    again = home.ok("builder", "update")
    assert (again.out, "newest packages already" in again.err) == (made.out, True)
    assert "1 package newer:" in home.ok("rebase", "shop").err
    rebased = document(home, "inspect", "shop")["digest"]
    assert build(home, app, "anew", "--clear-cache") == rebased

    # Nothing that an image needs is pruned, though its base has no name any more.
    home.ok("prune", "--yes")
    assert home.ok("run", "kept").out == f"# {OLD}\n"
    assert "http" in home.ok("run", "shop").out
