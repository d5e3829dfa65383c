"""Builders from recipes, by the commands: packages from a small archive of our own; locks, other machines, mistakes."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from packrunner import paths
from packrunner import start as beginning
from packrunner.bases import BaseSettings
from packrunner.cli import main
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.peek import read_files
from packrunner.images.several import Several
from packrunner.images.store import LocalStore
from packrunner.images.transfer import parse_locator, read_all
from tests.unit.bases.archive import NOW, DebianArchive, Slept, control, deb, entry, simple_packages, write_keyring

if TYPE_CHECKING:
    from collections.abc import Callable

Capture = pytest.CaptureFixture[str]

RECIPE = """\
description = "ours"

[recipe]
suite = "debian:trixie"

[recipe.build]
packages = ["libpq-dev"]

[[recipe.run]]
image = "acme/run:13"
variant = "static"
packages = ["libpq5"]

[[recipe.run]]
image = "acme/run:bare"
variant = "none"
packages = ["tzdata"]

[[buildpacks]]
uri = "./one"

[[order]]
[[order.group]]
id = "acme/one"
"""
USER = '[recipe.user]\nname = "app"\nuid = 2000\ngid = 3000\nhome = "/srv/app"\n'


def archive(versions: dict[str, str] | None = None, **more: str) -> DebianArchive:
    """An archive with PostgreSQL's library in a version, or others."""
    found = {"libpq-dev": "1", "libpq5": "1", "openssl": "1", **(versions or {})}
    packages = simple_packages()
    for name, version in found.items():
        packages[name] = deb(control(name, version), entry(f"./usr/lib/{name}", f"{name} {version}\n".encode()))
    return DebianArchive(packages=packages, versions=found, extra=more, date=NOW)


class Machine:
    """A machine of its own: state below `root`, an archive that others may share, and the team's builder.toml."""

    def __init__(self, root: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.now = NOW
        self.mirror = mirror
        self._patch = monkeypatch

    def enter(self) -> None:
        """Let commands run on it."""
        self._patch.setenv("PACKRUNNER_HOME", str(self.root / "home"))
        keyring = write_keyring(str(self.root / "keyring"))

        def settings(_: Any = None) -> BaseSettings:
            return BaseSettings(
                data_dir=paths.data_dir(),
                mirror=self.mirror,
                environ={},
                root=str(self.root / "no-host"),
                keyring=keyring,
                now=lambda: self.now,
                sleep=Slept(),
            )

        self._patch.setattr("packrunner.cli.wiring.places.base_settings", settings)
        self._patch.setattr("packrunner.cli.wiring.places.architecture", lambda: "amd64")

    @property
    def store(self) -> LocalStore:
        return LocalStore(os.path.join(paths.data_dir(), "store"))

    def image(self, name: str) -> Image:
        found = self.store.read(name)
        assert found, name
        return found.image

    def files(self, name: str) -> dict[str, bytes]:
        found = read_files(self.image(name).layers, lambda _: True, self.store)
        return {os.fsdecode(path): data for path, data in found.items()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path / "here", archive().write(str(tmp_path / "mirror")), monkeypatch)
    team = tmp_path / "team"
    (team / "one/bin").mkdir(parents=True)
    (team / "one/buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = "acme/one"\nversion = "1.0.0"\n')
    for program in ("detect", "build"):
        (team / "one/bin" / program).write_text("#!/bin/sh\n")
        (team / "one/bin" / program).chmod(0o755)
    (team / "builder.toml").write_text(RECIPE)
    monkeypatch.chdir(team)
    found.enter()
    return found


@pytest.fixture
def run(capsys: Capture) -> Callable[..., tuple[str, str]]:
    def go(*argv: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        ended = main(argv)
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return go


@pytest.mark.cnb("IMG-01", "IMG-07")
def test_a_recipe_makes_build_and_run_images(machine: Machine, run: Any) -> None:
    out, err = run("builder", "create", "acme/builder")
    assert "with 1 buildpack" in err
    image = machine.image("acme/builder")
    assert out == f"acme/builder@{image.digest}\n"
    assert image.get_env("CNB_USER_ID") == "1000"
    build, first, bare = (machine.files(name) for name in ("acme/builder", "acme/run:13", "acme/run:bare"))
    assert "usr/lib/libpq-dev" in build
    assert "usr/bin/the-gcc" in build
    assert "usr/lib/libpq5" not in build
    assert first["usr/lib/libpq5"] == b"libpq5 1\n"
    assert "usr/bin/the-ca-certificates" in first
    assert {name for name in bare if name.startswith("usr/bin/")} == {"usr/bin/the-tzdata"}
    metadata = json.loads(image.labels["io.buildpacks.builder.metadata"])
    assert [one["image"] for one in metadata["images"]] == ["acme/run:13", "acme/run:bare"]
    told = json.loads(image.labels["io.packrunner.recipe"])
    assert told["build"]["packages"] == ["libpq-dev"]
    assert told["suite"] == "debian:13"
    assert told["packages"] == {"build": len(simple_names("build")) + 1, "run-1": 6, "run-2": 1}


def simple_names(image: str) -> set[str]:
    from packrunner.bases.recipes import RECIPES

    return {text.split(" | ")[0] for text in RECIPES[image].packages}


def test_what_scripts_would_do_is_done_or_said(machine: Machine, run: Any) -> None:
    made = archive()
    link = b"update-alternatives --install %s x %s 5\n"
    text = b"adduser --system x\n" + b"".join(
        link % (place, target)
        for place, target in (
            (b"/usr/bin/pq", b"/usr/lib/libpq5"),
            (b"/bin/in-merged", b"/lib/libpq5"),
            (b"/usr/bin/nowhere", b"/usr/bin/gone"),
            (b"/usr/lib/libpq5", b"/usr/bin/the-netbase"),
        )
    )
    library = entry("./usr/lib/libpq5", b"libpq5 1\n")
    made.packages["libpq5"] = deb(control("libpq5", "1"), library, postinst=text)
    made.write(machine.mirror.removeprefix("file://"))
    _, err = run("builder", "create", "acme/builder")
    assert "run-1: what these packages' scripts would make is missing: libpq5 (accounts)" in " ".join(err.split())
    names = links(machine, "acme/run:13")
    assert names["usr/bin/pq"] == "/usr/lib/libpq5"
    assert names["usr/bin/in-merged"] == "/lib/libpq5"
    assert "usr/bin/nowhere" not in names
    assert machine.files("acme/run:13")["usr/lib/libpq5"] == b"libpq5 1\n", "what is there is kept"


def links(machine: Machine, name: str) -> dict[str, str]:
    """The symbolic links of an image."""
    (layer,) = machine.image(name).layers
    with tarfile.open(machine.store.blob_path(layer.blob.digest)) as archive:
        return {one.name: one.linkname for one in archive if one.issym()}


def test_what_is_asked_for_is_never_cut_and_what_is_excluded_always(machine: Machine, run: Any) -> None:
    changed = RECIPE.replace('packages = ["libpq5"]', 'packages = ["openssl"]\nexclude = ["media-types"]')
    Path("builder.toml").write_text(changed)
    run("builder", "create", "acme/builder")
    names = machine.files("acme/run:13")
    assert "usr/lib/openssl" in names, "the variant leaves it out"
    assert "usr/bin/the-media-types" not in names, "the variant has it"


def test_the_user_is_the_recipes(machine: Machine, run: Any) -> None:
    Path("builder.toml").write_text(RECIPE + USER)
    run("builder", "create", "acme/builder")
    image = machine.image("acme/builder")
    assert (image.get_env("CNB_USER_ID"), image.get_env("CNB_GROUP_ID")) == ("2000", "3000")
    assert machine.image("acme/run:13").user == "2000:3000"
    assert b"app:x:2000:3000:app:/srv/app:" in machine.files("acme/run:13")["etc/passwd"]
    assert b"app:x:3000:" in machine.files("acme/builder")["etc/group"]


def test_the_lock_makes_the_same_builder_elsewhere_and_later(
    machine: Machine, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = run("builder", "lock")
    first, _ = run("builder", "create", "acme/builder")
    lock = json.loads(Path("builder.lock").read_text())
    assert [p["version"] for p in lock["packages"] if p["name"] == "libpq5"] == ["1"]
    assert all(len(p["sha256"]) == 64 for p in lock["packages"])
    assert out == f"builder.lock@{json.loads(machine.image('acme/builder').labels['io.packrunner.recipe'])['lock']}\n"
    assert run("builder", "lock", "--check")[0] == out
    both = Path(machine.mirror.removeprefix("file://"))
    shutil.copytree(both / "pool", tmp_path / "kept")
    shutil.rmtree(both)
    archive({"libpq5": "2", "gcc": "7"}).write(str(both))
    shutil.copytree(tmp_path / "kept", both / "pool", dirs_exist_ok=True)  # a mirror that keeps old versions
    other = Machine(tmp_path / "there", machine.mirror, monkeypatch)
    other.enter()
    assert run("builder", "create", "acme/builder")[0] == first


def test_newer_packages_come_with_an_update(machine: Machine, run: Any) -> None:
    run("builder", "lock")
    run("builder", "create", "acme/builder")
    old, old_run = machine.image("acme/builder").digest, machine.image("acme/run:13").digest
    archive({"libpq5": "2"}).write(machine.mirror.removeprefix("file://"))
    machine.now = NOW + 100
    before = Path("builder.lock").read_bytes()
    _, err = run("builder", "update", "acme/builder", "-c", "builder.toml", "--dry-run")
    assert "run-1: 1 package newer: libpq5" in err
    assert Path("builder.lock").read_bytes() == before
    assert machine.image("acme/run:13").digest == old_run
    out, _ = run("builder", "update", "acme/builder", "-c", "builder.toml")
    assert machine.files("acme/run:13")["usr/lib/libpq5"] == b"libpq5 2\n"
    assert machine.image("acme/builder").digest != old, "its label names the lock"
    assert out == f"acme/builder@{machine.image('acme/builder').digest}\n"
    assert run("builder", "lock", "--check")


def test_an_old_lock_is_noted(machine: Machine, run: Any) -> None:
    run("builder", "lock")
    assert "days ago" not in run("builder", "create", "acme/builder")[1]
    machine.now = NOW + 9 * 24 * 3600
    err = " ".join(run("builder", "create", "acme/builder")[1].split())
    assert "was resolved 9 days ago; to take newer packages: packrunner builder update NAME --config" in err


@pytest.mark.fault("ARC-02")
@pytest.mark.parametrize("name", ["../../x", "x/y", "", ".", "X"])
def test_a_lock_with_names_that_are_none_is_refused(machine: Machine, run: Any, name: str) -> None:
    run("builder", "lock")
    text = (
        Path("builder.lock")
        .read_text()
        .replace('"name": "libpq5"', f'"name": "{name}"')
        .replace('"libpq5"', f'"{name}"')
    )
    Path("builder.lock").write_text(text)
    assert "error[base-lock]" in run("builder", "create", "acme/builder", code=15)[1]


def test_without_a_lock_file_the_machine_keeps_what_it_took(machine: Machine, run: Any) -> None:
    first, _ = run("builder", "create", "acme/builder")
    archive({"libpq5": "2"}).write(machine.mirror.removeprefix("file://"))
    assert run("builder", "create", "acme/builder")[0] == first
    run("builder", "update", "acme/builder", "-c", "builder.toml")
    assert machine.files("acme/run:13")["usr/lib/libpq5"] == b"libpq5 2\n"
    assert not os.path.lexists("builder.lock")


def test_prune_keeps_what_the_builder_is_made_of(machine: Machine, run: Any) -> None:
    run("builder", "lock")
    first, _ = run("builder", "create", "acme/builder")
    run("prune", "--yes")
    shutil.rmtree(machine.mirror.removeprefix("file://"))
    assert run("builder", "create", "acme/builder")[0] == first


def test_what_an_edited_recipe_leaves_is_pruned(machine: Machine, run: Any) -> None:
    run("builder", "create", "acme/builder")
    old = machine.image("acme/builder").layers[0].blob.digest
    Path("builder.toml").write_text(RECIPE.replace("libpq-dev", "libpq5"))
    second, _ = run("builder", "create", "acme/builder")
    bases = Path(paths.data_dir(), "bases")
    downloads = len(list((bases / "downloads").iterdir()))
    run("prune", "--yes")
    assert not machine.store.has(old)
    assert [len(list(home.iterdir())) > 0 for home in sorted(bases.glob("debian-13-*"))].count(True) == 1
    assert len(list((bases / "downloads").iterdir())) == downloads - 1, "libpq-dev is in no image any more"
    shutil.rmtree(machine.mirror.removeprefix("file://"))
    assert run("builder", "create", "acme/builder")[0] == second


def test_names_are_no_part_of_an_image(machine: Machine, run: Any, tmp_path: Path) -> None:
    run("builder", "create", "acme/builder")
    first = machine.image("acme/run:13").digest
    shutil.copytree(tmp_path / "team", tmp_path / "other")
    (tmp_path / "other/builder.toml").write_text(RECIPE.replace("acme/run:13", "acme/another"))
    run("builder", "create", "acme/same", "-c", str(tmp_path / "other/builder.toml"))
    assert machine.image("acme/another").digest == first
    shutil.rmtree(os.path.join(paths.data_dir(), "store"))
    run("builder", "create", "acme/same", "-c", str(tmp_path / "other/builder.toml"))
    run("builder", "create", "acme/builder")
    assert machine.image("acme/another").digest == machine.image("acme/run:13").digest == first


def test_what_was_removed_from_the_store_is_made_again_and_equal(machine: Machine, run: Any) -> None:
    first, _ = run("builder", "create", "acme/builder")
    old = machine.image("acme/run:13").digest
    shutil.rmtree(os.path.join(paths.data_dir(), "store"))
    assert run("builder", "create", "acme/builder")[0] == first
    assert machine.image("acme/run:13").digest == old


@pytest.mark.parametrize(
    ("old", "new", "slug", "why", "at"),
    [
        ("libpq-dev", "libpq-dve", "builder-package", "no package libpq-dve", "builder.toml:7"),
        ("libpq-dev", "libpq dev", "builder-file", "is not the name of a package", "builder.toml:7"),
        ('"libpq-dev"', '"a", "b, c"', "builder-file", "'b, c' is not the name", "builder.toml:7"),
        ("debian:trixie", "potato", "builder-file", "'potato' is no suite", "builder.toml:4"),
        ("[recipe.build]", "[recipe.bild]", "toml", "did you mean 'build'", "builder.toml:6"),
        ("packages = [", "pakages = [", "toml", "did you mean 'packages'", "builder.toml:7"),
        ('variant = "static"', 'variant = "tiny"', "toml", "invalid enum value 'tiny'", "builder.toml:11"),
        ('image = "acme/run:bare"', "", "builder-file", "a run image has no name", "builder.toml:14"),
        ("acme/run:bare", "acme/run:13", "builder-file", "two run images are called acme/run:13", "builder.toml:15"),
        ("acme/run:bare", "Acme!", "name", "'Acme!' is not a name for an image", ""),
        ('suite = "debian:trixie"', "", "builder-file", "the recipe has no suite", "builder.toml:3"),
        ("[recipe]", '[build]\nimage = "x"\n[recipe]', "builder-file", "and another is named", "builder.toml:4"),
        ("[[order]]", '[[run.images]]\nimage = "x"\n[[order]]', "builder-file", "and others are named", "builder.toml"),
        ('packages = ["tzdata"]', 'packages = ["tzdata"]\nexclude = ["tzdata"]', "builder-file", "and excluded", ":18"),
        ("[[order]]", '[recipe.user]\nname = "root"\n[[order]]', "builder-file", "the user root", "builder.toml"),
        ("[[order]]", "[recipe.user]\ngid = 33\n[[order]]", "builder-file", "www-data", "builder.toml"),
        ("[[order]]", "[recipe.user]\nuid = 0\n[[order]]", "builder-file", "0 cannot be a uid", "builder.toml"),
        (
            "[[order]]",
            '[recipe.user]\nhome = "/a/../etc"\n[[order]]',
            "builder-file",
            "cannot be a home",
            "builder.toml",
        ),
    ],
)
def test_a_wrong_recipe_is_named_with_its_line(
    machine: Machine, run: Any, old: str, new: str, slug: str, why: str, at: str
) -> None:
    assert old in RECIPE
    Path("builder.toml").write_text(RECIPE.replace(old, new, 1))
    _, err = run("builder", "create", "acme/builder", code=2)
    flat = " ".join(err.split())
    assert f"error[{slug}]" in flat
    assert why in flat
    assert at in flat
    assert not machine.store.list()


def test_a_lock_is_only_followed_by_its_own_recipe(machine: Machine, run: Any) -> None:
    _, err = run("builder", "lock", "--check", code=2)
    assert "error[builder-lock]: there is no builder.lock" in err
    run("builder", "lock")
    Path("builder.toml").write_text(RECIPE.replace("libpq-dev", "gcc"))
    for words in (("lock", "--check"), ("create", "acme/builder")):
        _, err = run("builder", *words, code=2)
        assert "error[builder-lock]: builder.lock is a lock of another recipe" in err
    run("builder", "lock")
    run("builder", "lock", "--check")


@pytest.mark.parametrize("text", ["", "{}", "[1", '{"version": 9}', '{"version": 1, "packages": []}'])
def test_a_damaged_lock_is_no_surprise(machine: Machine, run: Any, text: str) -> None:
    Path("builder.lock").write_text(text)
    _, err = run("builder", "create", "acme/builder", code=15)
    assert "error[base-lock]" in err
    assert "packrunner builder lock" in err
    run("builder", "lock")
    run("builder", "create", "acme/builder")


def test_a_package_that_is_not_what_the_lock_says_is_refused(machine: Machine, run: Any) -> None:
    run("builder", "lock")
    raw = json.loads(Path("builder.lock").read_text())
    for package in raw["packages"]:
        if package["name"] == "libpq5":
            package["sha256"] = "0" * 64
    Path("builder.lock").write_text(json.dumps(raw))
    assert main(("builder", "create", "acme/builder")) != 0
    assert machine.store.read("acme/builder") is None
    assert machine.store.read("acme/run:13") is None


def test_our_own_base_is_locked_and_taken_elsewhere(
    machine: Machine, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = run("builder", "lock", "debian:13")
    assert out.startswith("debian-13.lock@sha256:")
    _, err = run("builder", "lock", "debian:13", "--check", code=2)
    assert "is not here as debian-13.lock has it" in err
    other = Machine(tmp_path / "there", machine.mirror, monkeypatch)
    other.enter()
    assert run("builder", "lock", "debian:13", "--take")[0] == out
    assert run("builder", "lock", "debian:13", "--check")[0] == out
    run("builder", "lock")
    _, err = run("builder", "lock", "debian:13", "--file", "builder.lock", "--take", code=2)
    assert "is no lock of debian:13" in err


def test_json_names_every_change(machine: Machine, run: Any) -> None:
    run("builder", "lock")
    archive({"libpq5": "2"}).write(machine.mirror.removeprefix("file://"))
    found = json.loads(run("builder", "lock", "--json")[0])
    assert found["schema"] == "packrunner.builder-lock/1"
    assert found["changed"] is True
    assert [change["name"] for change in found["images"]["run-1"]] == ["libpq5"]
    assert found["packages"]["run-1"] == 6
    assert json.loads(run("builder", "lock", "--json")[0])["changed"] is False


@pytest.mark.parametrize("words", [("debian:13", "-c", "x"), ("--take",), ("debian:13", "--take", "--check")])
def test_what_excludes_each_other_is_said(machine: Machine, run: Any, words: tuple[str, ...]) -> None:
    assert "error[usage]" in run("builder", "lock", *words, code=2)[1]


def test_a_builder_without_a_recipe_has_nothing_to_lock(machine: Machine, run: Any) -> None:
    Path("builder.toml").write_text(
        '[build]\nimage = "x"\n' + RECIPE.partition("[[buildpacks]]")[2].join(("[[buildpacks]]", ""))
    )
    assert "has no recipe to lock" in run("builder", "lock", code=2)[1]


@pytest.fixture
def start(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """The command as it is started; what it reads is no longer fresh then."""

    def go(*argv: str, code: int = 0) -> tuple[str, str]:
        time.sleep(0.05)
        capfd.readouterr()
        ended = beginning.run(list(argv))
        out, err = capfd.readouterr()
        assert ended == code, err
        return out, err

    return go


CREATE = ("builder", "create", "acme/builder", "--tag", "acme/builder:1", "-o", "oci:out")


def test_a_builder_of_which_nothing_changed_is_not_made(
    machine: Machine, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, err = start(*CREATE)
    assert "Created a builder" in err
    assert len(first.splitlines()) == 2
    with monkeypatch.context() as patch:
        patch.setattr("packrunner.cli.main", None)
        out, err = start(*CREATE)
    assert out == first
    assert err.startswith("Nothing changed since ")
    assert "(1 buildpack, debian:13@" in err


def _touch_buildpack(machine: Machine) -> None:
    Path("one/bin/build").write_text("#!/bin/sh\n# changed\n")


def _lock(machine: Machine) -> None:
    assert main(("builder", "lock")) == 0


def _remove_output(machine: Machine) -> None:
    shutil.rmtree("out")


def _remove_run_image(machine: Machine) -> None:
    assert main(("rm", "--yes", "acme/run:13")) == 0


def _take_name(machine: Machine) -> None:
    machine.store.write(machine.image("acme/run:bare"), ["acme/builder:1"])


def _lose_a_blob(machine: Machine) -> None:
    os.unlink(machine.store.blob_path(machine.image("acme/builder").layers[-1].blob.digest))


def _describe(machine: Machine) -> None:
    Path("builder.toml").write_text(RECIPE.replace("ours", "everyone's"))


@pytest.mark.parametrize(
    "change", [_touch_buildpack, _lock, _remove_output, _remove_run_image, _take_name, _lose_a_blob, _describe]
)
def test_whatever_changed_it_is_made(machine: Machine, start: Any, change: Callable[[Machine], None]) -> None:
    start(*CREATE)
    change(machine)
    out, err = start(*CREATE)
    assert "Created a builder" in err
    assert out.splitlines()[1] == f"acme/builder:1@{machine.image('acme/builder:1').digest}"
    assert os.path.isdir("out/blobs")


def test_an_order_that_became_wrong_is_still_an_error(machine: Machine, start: Any) -> None:
    start(*CREATE)
    Path("builder.toml").write_text(RECIPE.replace('id = "acme/one"', 'id = "acme/two"'))
    assert "error[builder-file]" in start(*CREATE, code=2)[1]
    Path("builder.toml").write_text(RECIPE)
    assert "Created" in start(*CREATE)[1]


@pytest.mark.cnb("IMG-09", "IMG-11")
def test_a_builder_for_several_platforms(machine: Machine, run: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    store = machine.store
    distro = {"io.buildpacks.base.distro.name": "debian", "io.buildpacks.base.distro.version": "13"}
    bases = [
        Image(architecture=arch, env=(("CNB_USER_ID", "1000"), ("CNB_GROUP_ID", "1000")), labels=distro).with_layers(
            write_layer(store, [File(target="/etc/arch", data=arch.encode())], created_by=arch).layer
        )
        for arch in ("amd64", "arm64")
    ]
    store.write(Several(images=tuple(bases)), ["acme/base"])
    for arch in ("amd64", "arm64"):
        shutil.copytree("one/bin", f"one/linux/{arch}/bin")
        Path(f"one/linux/{arch}/bin/build").write_text(f"#!/bin/sh\n# {arch}\n")
        Path(f"one/linux/{arch}/bin/build").chmod(0o755)
    shutil.rmtree("one/bin")
    Path("builder.toml").write_text(
        '[build]\nimage = "acme/base"\n[[run.images]]\nimage = "acme/run"\n'
        '[[buildpacks]]\nuri = "./one"\n[[order]]\n[[order.group]]\nid = "acme/one"\n'
    )
    both = ("-t", "linux/amd64", "-t", "linux/arm64")
    out, err = run("builder", "create", "acme/both", *both, "-o", "oci:there")
    whole = store.read_all("acme/both")
    assert isinstance(whole, Several)
    assert out == f"acme/both@{whole.digest}\n"
    assert "Nothing changed" not in err
    for image in whole.images:
        found = read_files(image.layers, lambda _: True, store)
        arch = found[b"etc/arch"].decode()
        assert arch == image.architecture
        assert found[b"cnb/buildpacks/acme_one/1.0.0/bin/build"] == f"#!/bin/sh\n# {arch}\n".encode()
    assert read_all(parse_locator("oci:there"), LocalStore(str(tmp_path / "other"))).digest == whole.digest
    assert run("builder", "create", "acme/both", *both)[0] == out
    alone, _ = run("builder", "create", "acme/alone", "-t", "linux/arm64")
    assert alone == f"acme/alone@{whole.images[1].digest}\n"
    with Path("builder.toml").open("a") as file:
        file.write('[lifecycle]\nuri = "lifecycle.tgz"\n')
    Path("lifecycle.tgz").write_bytes(b"")
    _, err = run("builder", "create", "acme/arm", "-t", "linux/arm64", code=2)
    assert "an archive has a lifecycle for one architecture" in err
    Path("builder.toml").write_text(RECIPE)
    _, err = run("builder", "create", "acme/both", *both, code=2)
    assert "this machine makes no base for arm64" in err
    assert store.read_all("acme/both") is not None
    assert "twice" in run("builder", "create", "acme/both", "-t", "linux/amd64", "-t", "linux/amd64", code=2)[1]
