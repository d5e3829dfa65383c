"""Images out of the store and into it again: layouts, archives, and what other tools read and write."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import CorruptError, PackrunnerError, StoreError, UsageError
from packrunner.images.image import Image, digest_of
from packrunner.images.layer import Dir, File, write_layer
from packrunner.images.store import LocalStore
from packrunner.images.transfer import Locator, parse_locator, read_image, write_output
from tests import tars

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.images.layer import Part

KINDS = ["oci", "oci-archive", "docker-archive"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "other"))


def image(store: LocalStore, text: str = "x") -> Image:
    parts: list[Part] = [Dir(target="/app"), File(target="/app/f", data=text.encode() * 100_000)]
    first = write_layer(store, parts, created_by="one").layer
    second = write_layer(store, [File(target="/g", data=text.encode())], created_by="two").layer
    return Image(labels={"text": text}).with_layers(first, second, first)


def place(kind: str, tmp_path: Path, tag: str = "") -> Locator:
    return Locator(kind=kind, path=str(tmp_path / f"out-{kind}"), tag=tag)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", ("store", "app", "")),
        ("app:1", ("store", "app:1", "")),
        ("localhost:5000/app:1", ("store", "localhost:5000/app:1", "")),
        ("sha256:" + "a" * 64, ("store", "sha256:" + "a" * 64, "")),
        ("oci:dir", ("oci", "dir", "")),
        ("oci:/a/dir:tag", ("oci", "/a/dir", "tag")),
        ("oci:../d.d/x", ("oci", "../d.d/x", "")),
        ("oci-archive:x.tar:v1", ("oci-archive", "x.tar", "v1")),
        ("docker-archive:/a/x.tar", ("docker-archive", "/a/x.tar", "")),
        ("docker-archive:/a/x.tar:app:1", ("docker-archive", "/a/x.tar", "app:1")),
        ("docker-archive:/a/x.tar:reg.example/team/app:1", ("docker-archive", "/a/x.tar", "reg.example/team/app:1")),
    ],
)
def test_locators(text: str, expected: tuple[str, str, str]) -> None:
    found = parse_locator(text)
    assert (found.kind, found.path, found.tag) == expected


@pytest.mark.parametrize("text", ["oci:", "oci::tag", "docker-archive:", "oci:a\0b"])
def test_locators_without_a_path(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_locator(text)
    assert caught.value.slug == "locator"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_with_the_same_digest(
    store: LocalStore, other: LocalStore, tmp_path: Path, kind: str
) -> None:
    one = image(store)
    write_output(place(kind, tmp_path), one, store, "app:v1")
    for tag in ("", "app:v1" if kind == "docker-archive" else "v1"):
        found = read_image(place(kind, tmp_path, tag), other)
        assert found.digest == one.digest
        assert found.layers == one.layers
        other.write(found, ["copy"])
    assert other.check() == ()


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_reproducible_and_replaced(store: LocalStore, tmp_path: Path, kind: str) -> None:
    def content() -> object:
        path = place(kind, tmp_path).path
        if kind != "oci":
            with open(path, "rb") as file:
                return file.read()
        return tars.tree(path)

    old, new = image(store, "old"), image(store, "new")
    write_output(place(kind, tmp_path), new, store, "app")
    first = content()
    write_output(place(kind, tmp_path), old, store, "app")
    assert content() != first
    write_output(place(kind, tmp_path), new, store, "app")
    assert content() == first
    assert sorted(os.listdir(tmp_path)) == ["out-" + kind, "store"]


def test_a_layout_keeps_its_other_tags(store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    one, two = image(store, "one"), image(store, "two")
    write_output(place("oci", tmp_path), one, store, "app:1")
    write_output(place("oci", tmp_path), two, store, "app:2")
    assert read_image(place("oci", tmp_path, "1"), other).digest == one.digest
    assert read_image(place("oci", tmp_path, "2"), other).digest == two.digest
    with pytest.raises(UsageError) as caught:
        read_image(place("oci", tmp_path), other)
    assert caught.value.slug == "ambiguous-image"
    with pytest.raises(UsageError, match="no image 3") as caught:
        read_image(place("oci", tmp_path, "3"), other)
    assert caught.value.slug == "unknown-image"


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_files_are_not_replaced(store: LocalStore, tmp_path: Path, kind: str) -> None:
    one = image(store)
    where = place(kind, tmp_path)
    if kind == "oci":
        os.mkdir(where.path)
        (tmp_path / "out-oci" / "thesis.txt").write_text("precious")
    else:
        (tmp_path / f"out-{kind}").write_text("precious")
    before = tars.tree(tmp_path)
    with pytest.raises(UsageError) as caught:
        write_output(where, one, store, "app")
    assert caught.value.slug == "output-exists"
    assert {p: v for p, v in tars.tree(tmp_path).items() if not p.startswith("store")} == {
        p: v for p, v in before.items() if not p.startswith("store")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_links_are_not_written_through(store: LocalStore, tmp_path: Path, kind: str) -> None:
    where = place(kind, tmp_path)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    os.symlink(target, where.path)
    with pytest.raises(UsageError):
        write_output(where, image(store), store, "app")
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_directory_above_is_an_error_or_made(store: LocalStore, tmp_path: Path, kind: str) -> None:
    where = Locator(kind=kind, path=str(tmp_path / "no" / "such"))  # type: ignore[arg-type]
    if kind == "oci":
        write_output(where, image(store), store, "app")
        return
    with pytest.raises(StoreError) as caught:
        write_output(where, image(store), store, "app")
    assert caught.value.slug == "disk"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.fault("STO-13")
def test_a_damaged_blob_is_never_put_out(store: LocalStore, tmp_path: Path, kind: str) -> None:
    one = image(store)
    with open(store.blob_path(one.layers[0].blob.digest), "r+b") as file:
        file.seek(5000)
        file.write(b"!")
    with pytest.raises(CorruptError) as caught:
        write_output(place(kind, tmp_path), one, store, "app")
    assert caught.value.slug == "store-corrupt"
    if kind != "oci":
        assert not os.path.exists(place(kind, tmp_path).path)
    assert not [n for _, _, names in os.walk(tmp_path) for n in names if n.startswith(".packrunner")]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_there(other: LocalStore, tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_image(place(kind, tmp_path), other)
    assert caught.value.slug == "unknown-image"
    with pytest.raises(UsageError) as caught:
        read_image(Locator(kind="store", path="app"), other)
    assert caught.value.slug == "unknown-image"


@pytest.mark.skopeo
@pytest.mark.parametrize("kind", KINDS)
def test_skopeo_reads_what_was_written(store: LocalStore, tmp_path: Path, kind: str) -> None:
    one = image(store)
    write_output(place(kind, tmp_path), one, store, "app:v1")
    found = subprocess.run(
        ["skopeo", "inspect", f"{kind}:{place(kind, tmp_path).path}"], capture_output=True, check=True, text=True
    )
    facts = json.loads(found.stdout)
    assert facts["Labels"] == {"text": "x"}
    assert facts["Layers"] == [layer.blob.digest for layer in one.layers]
    if kind != "docker-archive":
        assert facts["Digest"] == one.digest


@pytest.mark.skopeo
@pytest.mark.parametrize("kind", KINDS)
def test_what_skopeo_wrote_is_read(store: LocalStore, other: LocalStore, tmp_path: Path, kind: str) -> None:
    one = image(store)
    write_output(place("oci", tmp_path), one, store, "app:v1")
    theirs = tmp_path / "theirs"
    name = f"{kind}:{theirs}:app:v1" if kind == "docker-archive" else f"{kind}:{theirs}:v1"
    policy = ["skopeo", "--insecure-policy", "copy", "-q"]
    subprocess.run([*policy, "--dest-compress", f"oci:{tmp_path}/out-oci", name], capture_output=True, check=True)
    found = read_image(parse_locator(f"{kind}:{theirs}"), other)
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in one.layers]
    other.write(found, ["theirs"])
    assert other.check() == ()


def saved(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Locator:
    """An archive as `docker save` writes it."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return Locator(kind="docker-archive", path=str(path))


LAYER = tars.file(b"f", b"data") + tars.END


def legacy(**changes: object) -> dict[str, bytes]:
    """The files of an old `docker save`."""
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [str(digest_of(LAYER))] * 2}, "config": {}}
    ).encode()
    manifest = [{"Config": "c.json", "RepoTags": ["old/app:1"], "Layers": ["1/layer.tar", "2/layer.tar"], **changes}]
    return {
        "c.json": config,
        "1/layer.tar": LAYER,
        "2/layer.tar": gzip.compress(LAYER, mtime=0),
        "1/VERSION": b"1.0",
        "manifest.json": json.dumps(manifest).encode(),
    }


def test_an_old_archive(other: LocalStore, tmp_path: Path) -> None:
    files = legacy()
    found = read_image(saved(tmp_path / "old.tar", files), other)
    assert found.config_bytes() == files["c.json"]
    assert [layer.blob.digest for layer in found.layers] == [
        digest_of(files["1/layer.tar"]),
        digest_of(files["2/layer.tar"]),
    ]
    other.write(found, ["old"])
    assert other.check() == ()
    assert read_image(parse_locator(f"docker-archive:{tmp_path}/old.tar:old/app:1"), other).digest == found.digest
    with pytest.raises(UsageError, match=r"no image app:2"):
        read_image(parse_locator(f"docker-archive:{tmp_path}/old.tar:app:2"), other)


def test_layers_that_are_links_to_others(other: LocalStore, tmp_path: Path) -> None:
    files = legacy()
    del files["2/layer.tar"]
    found = read_image(saved(tmp_path / "old.tar", files, {"2/layer.tar": "../1/layer.tar"}), other)
    assert len({layer.blob.digest for layer in found.layers}) == 1


HOSTILE: dict[str, tuple[dict[str, bytes], dict[str, str]]] = {
    "null manifest": ({**legacy(), "manifest.json": b"null"}, {}),
    "null entry": ({**legacy(), "manifest.json": b"[null]"}, {}),
    "no manifest": ({k: v for k, v in legacy().items() if k != "manifest.json"}, {}),
    "cycle of links": (
        {k: v for k, v in legacy().items() if "2/" not in k},
        {"2/layer.tar": "../3/layer.tar", "3/layer.tar": "../2/layer.tar"},
    ),
    "link out": ({k: v for k, v in legacy().items() if "2/" not in k}, {"2/layer.tar": "/etc/passwd"}),
    "config outside": (legacy(Config="../x"), {}),
    "absolute config": (legacy(Config="/etc/passwd"), {}),
    "too few layers": (legacy(Layers=["1/layer.tar"]), {}),
    "too many layers": (legacy(Layers=["1/layer.tar"] * 3), {}),
    "other bytes": ({**legacy(), "1/layer.tar": LAYER + bytes(512)}, {}),
    "cut layer": ({**legacy(), "2/layer.tar": gzip.compress(LAYER)[:-9]}, {}),
    "layer is no archive": ({**legacy(), "1/layer.tar": b""}, {}),
}


@pytest.mark.fault("ARC-42")
@pytest.mark.fault("ARC-29")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(other: LocalStore, tmp_path: Path, case: str) -> None:
    (tmp_path / "x").write_text("{}")
    with pytest.raises(CorruptError):
        read_image(saved(tmp_path / "bad.tar", *HOSTILE[case]), other)
    assert other.list() == []
    assert other.check() == ()


@pytest.mark.fault("ARC-27")
def test_a_cut_archive(store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    write_output(place("docker-archive", tmp_path), image(store), store, "app")
    data = (tmp_path / "out-docker-archive").read_bytes()
    for size in (0, 100, 512, 5000, len(data) // 2, len(data) - 2000):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(PackrunnerError):
            read_image(Locator(kind="docker-archive", path=str(tmp_path / "cut")), other)


def layout(tmp_path: Path, store: LocalStore) -> Path:
    write_output(place("oci", tmp_path), image(store), store, "app:v1")
    return tmp_path / "out-oci"


@pytest.mark.fault("ARC-42")
@pytest.mark.parametrize("which", ["manifest", "config", "layer", "index.json"])
def test_a_layout_whose_files_are_links(store: LocalStore, other: LocalStore, tmp_path: Path, which: str) -> None:
    root = layout(tmp_path, store)
    one = image(store)
    names = {
        "manifest": f"blobs/sha256/{one.digest.hex}",
        "config": f"blobs/sha256/{one.config.digest.hex}",
        "layer": f"blobs/sha256/{one.layers[0].blob.digest.hex}",
        "index.json": "index.json",
    }
    path = root / names[which]
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        read_image(place("oci", tmp_path), other)


@pytest.mark.fault("ARC-29")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_layout_with_a_flipped_bit(store: LocalStore, other: LocalStore, tmp_path: Path, which: int) -> None:
    root = layout(tmp_path, store)
    one = image(store)
    digest = (one.digest, one.config.digest, one.layers[0].blob.digest)[which]
    path = root / "blobs" / "sha256" / digest.hex
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        read_image(place("oci", tmp_path), other)
    assert not other.has(digest)


def index_of(root: Path, manifests: list[dict[str, object]]) -> dict[str, object]:
    """Store an index as a blob; gives its descriptor."""
    data = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    digest = digest_of(data)
    (root / "blobs" / "sha256" / digest.hex).write_bytes(data)
    kind = "application/vnd.oci.image.index.v1+json"
    return {"mediaType": kind, "digest": str(digest), "size": len(data)}


@pytest.mark.fault("REG-22")
def test_an_index_within_the_index(store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    root = layout(tmp_path, store)
    entry = json.loads((root / "index.json").read_bytes())["manifests"][0]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    ours = {**entry, "platform": {"os": "linux", "architecture": machine}}
    theirs = {**entry, "digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "s390x"}}
    nested = index_of(root, [theirs, ours])
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [nested]}))
    assert read_image(place("oci", tmp_path), other).digest == entry["digest"]
    alone = index_of(root, [theirs])
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [alone]}))
    with pytest.raises(UsageError, match=f"linux/{machine}") as caught:
        read_image(place("oci", tmp_path), other)
    assert "s390x" in str(caught.value.cause)
    for _ in range(6):
        nested = index_of(root, [nested])
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [nested]}))
    with pytest.raises(CorruptError):
        read_image(place("oci", tmp_path), other)
