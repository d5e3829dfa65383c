"""Buildpacks that come from elsewhere: each kind of place gives what the directory itself would."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog import package, tree
from packrunner.catalog.package import Contents
from packrunner.catalog.select import CatalogSettings, select
from packrunner.catalog.stage import Stage
from packrunner.errors import CorruptError, NetworkError, UnsafeArchiveError, UsageError
from packrunner.formats.target import Platform
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.images.transfer import parse_locator, read_image, write_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from packrunner.catalog.selection import Selection
    from packrunner.images.image import Image

ADDRESS = "https://example.com/tool"


class FakeReach:
    """A store, and files at addresses."""

    def __init__(self, root: Path) -> None:
        self.store = LocalStore(str(root / "store"))
        self.snapshots = Snapshots(str(root / "snapshots"), self.store)
        self.files: dict[str, Path] = {}

    def image(self, reference: str) -> Image:
        return read_image(parse_locator(reference), self.store)

    def holds(self, name: str) -> bool:
        return self.store.read(name) is not None

    def lowers(self, image: Image) -> Sequence[str]:
        return self.snapshots.lowers(image)

    def download(self, address: str, digest: str = "") -> tuple[str, str]:
        path = self.files[address]
        return str(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[FakeReach]:
    made = FakeReach(tmp_path)
    with made.store.lease():
        yield made
    made.snapshots.close()


@pytest.fixture
def settings(tmp_path: Path, reach: FakeReach) -> CatalogSettings:
    for name in ("builtin", "sdk"):
        (tmp_path / name).mkdir()
    return CatalogSettings(
        stage_dir=str(tmp_path / "stage"),
        builtin_dir=str(tmp_path / "builtin"),
        sdk_dir=str(tmp_path / "sdk"),
        reach=reach,
    )


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return buildpack(tmp_path / "tool", "acme/tool")


def buildpack(place: Path, identity: str, order: str = "") -> Path:
    (place / "bin").mkdir(parents=True)
    text = f'api = "0.12"\n[buildpack]\nid = "{identity}"\nversion = "1.0.0"\n'
    (place / "buildpack.toml").write_text(text + order)
    for program in () if order else ("detect", "build"):
        (place / "bin" / program).write_text("#!/bin/sh\n")
    return place


def packed(settings: CatalogSettings, reach: FakeReach, *places: Path) -> Image:
    stage = Stage(settings.stage_dir, sdk_dir=settings.sdk_dir)
    entry, *others = [stage.add(str(place)) for place in places]
    contents = Contents(entry=entry, others=tuple(others))
    return package.make(contents, platform=Platform(architecture="amd64"), labels={}, store=reach.store)


def archived(place: Path, path: Path, *, top: str = "tool") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(place, top)
    return path


def chosen(text: str, settings: CatalogSettings) -> Selection:
    found = select((text,), settings=settings)
    assert [ref.id for ref in found.order.order[0].group] == ["acme/tool"]
    return found


def digests(found: Selection) -> set[str]:
    return {one.digest for one in found.buildpacks.values()}


def is_same(found: Selection, tool: Path, settings: CatalogSettings) -> bool:
    return digests(found) == digests(select((str(tool),), settings=settings))


@pytest.mark.cnb("DST-09", "DST-01")
def test_a_package_in_a_file(settings: CatalogSettings, reach: FakeReach, tool: Path, tmp_path: Path) -> None:
    path = tmp_path / "tool.cnb"
    write_output(parse_locator(f"oci-archive:{path}"), packed(settings, reach, tool), reach.store, "p")
    found = chosen(str(path), settings)
    assert is_same(found, tool, settings)
    assert found.inputs == (str(path),)
    assert not found.images


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize("text", ["docker://example.com/acme/tool:1", "example.com/acme/tool:1", "docker://mine"])
def test_a_package_by_its_name(settings: CatalogSettings, reach: FakeReach, tool: Path, text: str) -> None:
    image = packed(settings, reach, tool)
    reach.store.write(image, ["example.com/acme/tool:1", "mine"])
    found = chosen(text, settings)
    assert is_same(found, tool, settings)
    assert found.images == {text.removeprefix("docker://"): str(image.digest)}


def test_a_name_of_the_store_comes_after_all_others(settings: CatalogSettings, reach: FakeReach, tool: Path) -> None:
    reach.store.write(packed(settings, reach, tool), ["acme/all"])
    assert chosen("acme/all", settings).images
    with pytest.raises(UsageError) as error:
        select(("acme/none",), settings=settings)
    assert error.value.slug == "unknown-buildpack"


def test_what_a_package_has_beside_it_is_there_for_its_order(
    settings: CatalogSettings, reach: FakeReach, tool: Path, tmp_path: Path
) -> None:
    order = '[[order]]\n[[order.group]]\nid = "acme/tool"\nversion = "1.0.0"\n'
    above = buildpack(tmp_path / "all", "acme/all", order)
    reach.store.write(packed(settings, reach, above, tool), ["acme/all"])
    found = select(("docker://acme/all",), settings=settings)
    assert sorted(identity for identity, _ in found.buildpacks) == ["acme/all", "acme/tool"]


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize("top", ["tool", ".", "./tool"])
def test_an_archive_of_a_directory(settings: CatalogSettings, tool: Path, tmp_path: Path, top: str) -> None:
    path = archived(tool, tmp_path / "tool.tgz", top=top)
    found = chosen(str(path), settings)
    assert is_same(found, tool, settings)
    assert found.inputs == (str(path),)
    (tool / "bin" / "build").write_text("#!/bin/sh\n# new\n")
    archived(tool, path, top=top)
    assert is_same(chosen(str(path), settings), tool, settings)


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize("form", ["tgz", "cnb"])
def test_an_address_with_a_checksum(
    settings: CatalogSettings, reach: FakeReach, tool: Path, tmp_path: Path, form: str
) -> None:
    path = tmp_path / f"x.{form}"
    if form == "tgz":
        archived(tool, path)
    else:
        write_output(parse_locator(f"oci-archive:{path}"), packed(settings, reach, tool), reach.store, "p")
    reach.files[ADDRESS] = path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = chosen(f"{ADDRESS}#sha256={digest}", settings)
    assert is_same(found, tool, settings)
    assert not found.moving
    assert chosen(ADDRESS, settings).moving, "it may be another one the next time"
    with pytest.raises(UsageError) as error:
        chosen(f"{ADDRESS}#sha256={'0' * 64}", settings)
    assert error.value.slug == "buildpack-checksum"
    assert digest in (error.value.cause or "")


def commit(root: Path) -> str:
    git = ("git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "x")):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.cnb("DST-09")
def test_a_directory_of_a_git_repository_at_a_commit(settings: CatalogSettings, tool: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "packs").mkdir(parents=True)
    os.rename(tool, repository / "packs" / "tool")
    first = commit(repository)
    (repository / "packs" / "tool" / "bin" / "build").write_text("#!/bin/sh\n# second\n")
    second = commit(repository)
    found = [chosen(f"git+file://{repository}@{one}#packs/tool", settings) for one in (first, second)]
    assert is_same(found[1], repository / "packs" / "tool", settings)
    assert digests(found[0]) != digests(found[1])
    assert not found[0].inputs, "a commit is what it is"
    with pytest.raises(UsageError) as error:
        chosen(f"git+file://{repository}@{first}", settings)
    assert "no buildpack.toml" in (error.value.cause or "")


def test_a_commit_that_is_not_there_is_named(settings: CatalogSettings, tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as error:
        chosen(f"git+file://{tmp_path}/nowhere@{'0' * 40}", settings)
    assert "000000000000" in error.value.brief
    assert not any(tmp_path.joinpath("stage", "git").iterdir())


@pytest.mark.fault("ARC-01")
@pytest.mark.parametrize(
    "member",
    [
        {"name": "../out"},
        {"name": "/out"},
        {"name": "link", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"name": "pipe", "type": tarfile.FIFOTYPE},
    ],
)
def test_an_archive_that_reaches_out_is_refused(
    settings: CatalogSettings, tool: Path, tmp_path: Path, member: dict[str, str | bytes]
) -> None:
    path = tmp_path / "bad.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tool, "tool")
        info = tarfile.TarInfo("")
        for key, value in member.items():
            setattr(info, key, f"tool/{value}" if key == "name" and value in {"link", "pipe"} else value)
        archive.addfile(info, io.BytesIO(b""))
    with pytest.raises((UnsafeArchiveError, CorruptError, UsageError)):
        chosen(str(path), settings)
    assert not (tmp_path / "out").exists()
    assert not [name for name in os.listdir(tmp_path / "stage") if name.startswith(".packrunner")]


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_an_archive_that_was_cut_is_named(settings: CatalogSettings, tool: Path, tmp_path: Path, cut: int) -> None:
    path = archived(tool, tmp_path / "bad.tgz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptError) as error:
        chosen(str(path), settings)
    assert str(path) in (error.value.at or "")


def test_an_extension_is_none_of_the_buildpacks(settings: CatalogSettings, tmp_path: Path) -> None:
    place = tmp_path / "e"
    (place / "bin").mkdir(parents=True)
    (place / "extension.toml").write_text('api = "0.12"\n[extension]\nid = "acme/e"\nversion = "1.0.0"\n')
    (place / "bin" / "generate").write_text("#!/bin/sh\n")
    path = str(archived(place, tmp_path / "e.tgz", top="e"))
    with pytest.raises(UsageError) as error:
        select((path,), settings=settings)
    assert error.value.tries == (f"--extension {path}",)


@pytest.mark.fault("SBX-03")
def test_what_is_wrong_in_a_package_is_said_of_the_package(
    settings: CatalogSettings, reach: FakeReach, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.symlink("/etc", tool / "bin" / "link")
    with monkeypatch.context() as unwary:
        unwary.setattr(tree, "_stays_inside", lambda *_: True)
        image = packed(settings, reach, tool)
    path = tmp_path / "tool.cnb"
    write_output(parse_locator(f"oci-archive:{path}"), image, reach.store, "p")
    with pytest.raises(UnsafeArchiveError) as caught:
        chosen(str(path), settings)
    assert caught.value.brief == f"{path}:/cnb/buildpacks/acme_tool/1.0.0 cannot be used as a buildpack"
    assert caught.value.at == f"{path}:/cnb/buildpacks/acme_tool/1.0.0/bin/link"


@pytest.mark.fault("ARC-27")
def test_a_damaged_layer_is_said_of_its_package(
    settings: CatalogSettings, reach: FakeReach, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tool.cnb"
    write_output(parse_locator(f"oci-archive:{path}"), packed(settings, reach, tool), reach.store, "p")

    def damaged(image: Image) -> Sequence[str]:
        raise CorruptError("the layer 98f7a0c2fcd3 cannot be unpacked", slug="archive-corrupt")

    monkeypatch.setattr(reach, "lowers", damaged)
    with pytest.raises(CorruptError) as caught:
        chosen(str(path), settings)
    assert caught.value.at == str(path)
