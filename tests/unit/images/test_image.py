"""Images as values, and the JSON they come from and become."""

from __future__ import annotations

import json

import pytest

from packrunner.errors import CorruptError
from packrunner.images.image import CREATED, Descriptor, Image, Layer, digest_of, parse_image
from packrunner.images.manifest import DOCKER_MANIFEST, LAYER_GZIP, LAYER_TAR, MANIFEST
from packrunner.names import Digest


def layer(number: int, **more: str) -> Layer:
    digest = Digest("sha256:" + f"{number:064x}")
    return Layer(diff_id=digest, blob=Descriptor(digest=digest, size=number), **more)


def foreign(**changes: object) -> tuple[bytes, bytes]:
    """A manifest and a configuration as another tool writes them, with spaces and keys of its own."""
    config: dict[str, object] = {
        "author": "somebody",
        "architecture": "arm64",
        "variant": "v8",
        "os": "linux",
        "os.version": "1",
        "created": "2024-05-01T00:00:00Z",
        "config": {
            "User": "1000:1000",
            "Env": ["PATH=/bin", "EMPTY=", "ODD=a=b"],
            "Cmd": ["sh"],
            "Labels": {"b": "2", "a": "1"},
            "ExposedPorts": {"8080/tcp": {}},
            "Volumes": {"/data": {}},
            "Healthcheck": {"Test": ["CMD", "true"]},
            "StopSignal": "SIGINT",
        },
        "rootfs": {"type": "layers", "diff_ids": [str(layer(1).diff_id), str(layer(2).diff_id)]},
        "history": [
            {"created_by": "one", "comment": "c"},
            {"created_by": "ENV", "empty_layer": True},
            {"created_by": "two"},
        ],
        **changes,
    }
    data = json.dumps(config, indent=1).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "x", "digest": str(digest_of(data)), "size": len(data)},
        "layers": [
            {"mediaType": LAYER_GZIP, "digest": str(layer(n).diff_id), "size": 100 + n, "annotations": {"k": "v"}}
            for n in (1, 2)
        ],
    }
    return json.dumps(manifest, indent=3).encode(), data


def test_an_image_that_was_read_gives_its_bytes_back() -> None:
    manifest, config = foreign()
    image = parse_image(manifest, config)
    assert (image.manifest_bytes(), image.config_bytes()) == (manifest, config)
    assert image.digest == digest_of(manifest)
    assert image.get_env("ODD") == "a=b"
    assert image.get_env("EMPTY") == ""
    assert image.get_env("NONE") is None
    assert [entry.created_by for entry in image.layers] == ["one", "two"]


@pytest.mark.cnb("EXP-19")
@pytest.mark.cnb("EXP-29")
def test_a_changed_image_keeps_what_is_not_understood() -> None:
    manifest, config = foreign()
    image = parse_image(manifest, config).with_layers(layer(3, created_by="three")).with_created(CREATED)
    assert image.digest != digest_of(manifest)
    written = json.loads(image.config_bytes())
    assert written["config"]["Healthcheck"] == {"Test": ["CMD", "true"]}
    assert written["config"]["StopSignal"] == "SIGINT"
    assert written["config"]["User"] == "1000:1000"
    assert (written["author"], written["os.version"], written["variant"]) == ("somebody", "1", "v8")
    assert written["history"] == [
        {"created": CREATED, "created_by": "one", "comment": "c"},
        {"created": CREATED, "created_by": "two"},
        {"created": CREATED, "created_by": "three"},
    ]
    assert len(written["history"]) == len(written["rootfs"]["diff_ids"]) == 3
    again = parse_image(image.manifest_bytes(), image.config_bytes())
    assert again.layers == image.layers
    assert again.env == image.env


@pytest.mark.cnb("EXP-29")
@pytest.mark.parametrize("history", [None, [], [{"created_by": "only one"}]])
def test_a_history_of_another_length_becomes_blank(history: object) -> None:
    image = parse_image(*foreign(history=history)).with_layers(layer(3, created_by="three"))
    assert [h.get("created_by") for h in json.loads(image.config_bytes())["history"]] == [None, None, "three"]


def test_values_are_changed_by_making_new_ones() -> None:
    image = Image(env=(("A", "1"), ("B", "2")), cmd=("x",))
    other = (
        image.with_env("A", "3")
        .with_env("C", "4")
        .with_labels({"l": "1"})
        .with_labels({"l": "2"})
        .with_entrypoint("/run", "-x")
        .with_working_dir("/w")
        .with_user("1:2")
    )
    assert other.env == (("A", "3"), ("B", "2"), ("C", "4"))
    assert (other.entrypoint, other.cmd) == (("/run", "-x"), ())
    assert json.loads(other.config_bytes())["config"] == {
        "Env": ["A=3", "B=2", "C=4"],
        "Entrypoint": ["/run", "-x"],
        "Labels": {"l": "2"},
        "WorkingDir": "/w",
        "User": "1:2",
    }
    assert image.env == (("A", "1"), ("B", "2"))


@pytest.mark.cnb("EXP-30")
def test_equal_images_have_equal_bytes_whatever_the_order_of_labels() -> None:
    one = Image(labels={"a": "1", "b": "2"})
    two = Image(labels={"b": "2", "a": "1"})
    assert one.manifest_bytes() == two.manifest_bytes()
    assert one.digest == two.digest


def test_sizes() -> None:
    image = Image(layers=(layer(5), layer(7), layer(5)))
    assert image.size == 12 + len(image.config_bytes()) + image.manifest_size
    assert image.manifest.size == image.manifest_size == len(image.manifest_bytes())


def test_dockers_types_become_those_of_oci_when_an_image_changes() -> None:
    _, config = foreign()
    items = [
        {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": str(layer(n).diff_id), "size": n}
        for n in (1, 2)
    ]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": "c", "digest": str(digest_of(config)), "size": len(config)},
            "layers": items,
        }
    ).encode()
    image = parse_image(manifest, config)
    assert image.manifest.media_type == DOCKER_MANIFEST
    changed = image.with_layers(layer(3))
    assert changed.manifest.media_type == MANIFEST
    kinds = [item["mediaType"] for item in json.loads(changed.manifest_bytes())["layers"]]
    assert kinds == [LAYER_GZIP, LAYER_GZIP, LAYER_TAR]


def broken(**changes: object) -> tuple[bytes, bytes]:
    manifest, config = foreign()
    return json.dumps({**json.loads(manifest), **changes}).encode(), config


BAD_DIGESTS = [
    "sha256:../../x",
    "sha256:" + "A" * 64,
    "sha256:" + "a" * 63,
    "md5:" + "a" * 32,
    "",
    "sha256:" + "a" * 64 + "\n",
]


@pytest.mark.fault("ARC-30")
@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_digests_that_are_none(digest: str) -> None:
    item = {"mediaType": LAYER_TAR, "digest": digest, "size": 1}
    with pytest.raises(CorruptError) as caught:
        parse_image(*broken(layers=[item, item]))
    assert caught.value.slug == "image-format"
    with pytest.raises(CorruptError):
        parse_image(*foreign(rootfs={"diff_ids": [digest, digest]}))


@pytest.mark.fault("ARC-29")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_diff_ids_than_of_layers(count: int) -> None:
    with pytest.raises(CorruptError, match="2 layers"):
        parse_image(*foreign(rootfs={"diff_ids": [str(layer(9).diff_id)] * count}))
    with pytest.raises(CorruptError):
        parse_image(*foreign(rootfs={}))


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": 1},
        {"config": None},
        {"manifests": []},
        {"layers": [{"mediaType": LAYER_TAR, "digest": str(layer(1).diff_id), "size": -1}] * 2},
        {"layers": [{"mediaType": LAYER_TAR, "digest": str(layer(1).diff_id), "size": 2**63}] * 2},
        {"layers": {}},
    ],
)
def test_manifests_that_are_none(changes: dict[str, object]) -> None:
    with pytest.raises(CorruptError):
        parse_image(*broken(**changes))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (5 << 20)])
def test_json_that_is_none(data: bytes) -> None:
    manifest, config = foreign()
    with pytest.raises(CorruptError):
        parse_image(data, config)
    with pytest.raises(CorruptError):
        parse_image(manifest, data)


def test_a_configuration_that_is_not_the_manifests() -> None:
    manifest, _ = foreign()
    _, other = foreign(author="somebody else")
    with pytest.raises(CorruptError, match="configuration"):
        parse_image(manifest, other)
