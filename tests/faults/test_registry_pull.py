"""What registries do wrong when images are read from them (REG): nothing wrong is kept, what may pass is repeated."""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from packrunner.errors import CorruptError, NetworkError, PackrunnerError, RefusedError, UsageError
from packrunner.images.image import Image
from packrunner.images.manifest import DOCKER_INDEX, INDEX, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, MANIFEST, PlatformFile
from packrunner.images.registry.credentials import Anonymous
from packrunner.images.registry.registry import Registry
from packrunner.images.store import LocalStore
from tests.registry import Cut, Reply, ScriptedRegistry, Time, layer_of, registry, settings, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOISE = random.Random(5).randbytes(200_000)


@pytest.fixture
def far() -> Iterator[ScriptedRegistry]:
    with registry() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def client(time: Time | None = None, **changes: Any) -> Registry:
    return Registry(settings(time, **changes), Anonymous())


def pull(far: ScriptedRegistry, store: LocalStore, name: str = "app:1", **changes: Any) -> Image:
    with client(**changes) as ours, store.lease():
        return ours.pull(f"{far.host}/{name}", store)


def nothing_kept(store: LocalStore) -> bool:
    return not any(files for place, _, files in os.walk(store.root) if "blobs" in place or place.endswith("tmp"))


def test_a_pulled_image_is_the_same_and_whole(far: ScriptedRegistry, store: LocalStore) -> None:
    image = far.add_image("app", "1", NOISE, b"second")
    found = pull(far, store)
    assert found.digest == image.digest
    store.write(found, ["kept"])
    assert store.check() == ()
    far.seen.clear()
    pull(far, store)
    assert not far.asked("GET", f"blobs/{image.layers[0].blob.digest}"), "blobs that are there are not fetched"


@pytest.mark.parametrize("kind", ["zstd", "plain", "zstd called gzip"])
@pytest.mark.fault("ARC-31")
def test_layers_are_read_by_their_bytes(far: ScriptedRegistry, store: LocalStore, kind: str) -> None:
    kept = NOISE if kind == "plain" else zstandard.compress(NOISE)
    media_type = {"plain": LAYER_TAR, "zstd": LAYER_ZSTD}.get(kind, LAYER_GZIP)
    layer = far.add_layer("app", NOISE, kept, media_type)
    put(far, "app", Image().with_layers(layer))
    assert pull(far, store).layers[0].blob.digest == sha256(kept)


def put(far: ScriptedRegistry, repository: str, image: Image, tag: str = "1", kind: str = MANIFEST) -> None:
    far.blobs[repository, image.config.digest] = image.config_bytes()
    far.manifests[repository, tag] = far.manifests[repository, image.digest] = kind, image.manifest_bytes()


@pytest.mark.fault("REG-01")
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2, 100, 65_536, 150_000, 199_999])
def test_a_cut_blob_is_continued(far: ScriptedRegistry, store: LocalStore, after: int, *, reset: bool) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    far.script("GET", f"blobs/{layer.blob.digest}", Cut(after, reset=reset), Cut(1000))
    store.write(pull(far, store), ["app"])
    assert store.check() == ()
    ranges = [one.headers.get("Range", "") for one in far.asked("GET", f"blobs/{layer.blob.digest}")]
    # A reset may take bytes with it that had arrived.
    if not reset and after:
        assert ranges[1] == f"bytes={after}-"


@pytest.mark.fault("REG-01")
def test_a_blob_that_never_gets_further_ends_in_an_error(far: ScriptedRegistry, store: LocalStore) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    far.script("GET", f"blobs/{layer.blob.digest}", *[Cut(0)] * 20)
    time = Time()
    with pytest.raises(NetworkError) as error:
        pull(far, store, time=time)
    assert (error.value.slug, error.value.transient) == ("registry-unreachable", True)
    assert len(far.asked("GET", f"blobs/{layer.blob.digest}")) == 5
    assert time.slept == sorted(time.slept)
    assert far.host in error.value.brief
    assert nothing_kept(store)


@pytest.mark.fault("REG-02")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_flipped_byte_costs_one_fresh_fetch(
    far: ScriptedRegistry, store: LocalStore, times: int, *, gzipped: bool
) -> None:
    kept = gzip.compress(NOISE, mtime=0) if gzipped else NOISE
    layer = far.add_layer("app", NOISE, kept)
    put(far, "app", Image().with_layers(layer))
    wrong = bytearray(kept)
    wrong[100_000] ^= 1
    far.script("GET", f"blobs/{layer.blob.digest}", *[Reply(body=bytes(wrong))] * times)
    if times == 1:
        store.write(pull(far, store), ["app"])
        assert store.check() == ()
        return
    with pytest.raises(CorruptError) as error:
        pull(far, store)
    assert error.value.slug == "registry-corrupt"
    assert layer.blob.digest in str(error.value.cause)
    assert sha256(bytes(wrong)) in str(error.value.cause)
    assert nothing_kept(store)


@pytest.mark.fault("REG-03")
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_long_is_left(far: ScriptedRegistry, store: LocalStore, *, announced: bool) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    written: list[int] = []

    def endless(handler: Any) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", str(len(NOISE) + 1))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for _ in range(100_000):
                piece = bytes(65_536)
                handler.wfile.write(b"10000\r\n" + piece + b"\r\n")
                written.append(len(piece))
        except OSError:
            handler.close_connection = True

    far.script("GET", f"blobs/{layer.blob.digest}", endless, endless)
    with pytest.raises(CorruptError) as error:
        pull(far, store)
    assert error.value.slug == "registry-corrupt"
    assert nothing_kept(store)
    assert sum(written) < 64 << 20, "it was not read on and on"


@pytest.mark.fault("REG-04")
@pytest.mark.parametrize("size", [-1, 1 << 63, None, "12"])
def test_sizes_that_are_none_are_refused_before_anything_is_read(
    far: ScriptedRegistry, store: LocalStore, size: Any
) -> None:
    image = far.add_image("app", "1", NOISE)
    body = json.loads(image.manifest_bytes())
    body["layers"][0]["size"] = size
    far.manifests["app", "1"] = MANIFEST, json.dumps(body).encode()
    with pytest.raises(CorruptError) as error:
        pull(far, store)
    assert error.value.slug == "image-format"
    assert not far.asked("GET", f"blobs/{image.layers[0].blob.digest}")


@pytest.mark.fault("REG-04")
def test_another_content_length_than_the_manifest_says(far: ScriptedRegistry, store: LocalStore) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    far.script("GET", f"blobs/{layer.blob.digest}", *[Reply(body=NOISE[:-1])] * 2)
    with pytest.raises(CorruptError) as error:
        pull(far, store)
    assert str(len(NOISE)) in str(error.value.cause)


@pytest.mark.fault("REG-05")
def test_only_the_hash_of_a_manifest_counts(far: ScriptedRegistry) -> None:
    image, other = far.add_image("app", "1", NOISE), far.add_image("app", "2", b"other")
    lying = {"Content-Type": MANIFEST, "Docker-Content-Digest": image.digest}
    far.script("GET", "manifests/1", Reply(body=other.manifest_bytes(), headers=lying))
    with client() as ours:
        found = ours.read(f"{far.host}/app:1")
        assert found
        assert found.digest == other.digest
        far.script("GET", "manifests/sha256", *[Reply(body=other.manifest_bytes(), headers=lying)] * 2)
        with pytest.raises(CorruptError) as error:
            ours.read(f"{far.host}/app@{image.digest}")
    assert error.value.slug == "registry-corrupt"
    assert image.digest in str(error.value.cause)


@pytest.mark.fault("REG-09")
def test_foreign_urls_are_not_followed(far: ScriptedRegistry, store: LocalStore) -> None:
    with registry() as elsewhere:
        image = far.add_image("app", "1", NOISE)
        body = json.loads(image.manifest_bytes())
        body["layers"][0]["urls"] = [f"{elsewhere.url}/v2/app/blobs/{image.layers[0].blob.digest}"]
        elsewhere.blobs["app", image.layers[0].blob.digest] = far.blobs.pop(("app", image.layers[0].blob.digest))
        far.manifests["app", "1"] = MANIFEST, json.dumps(body).encode()
        with pytest.raises(PackrunnerError) as error:
            pull(far, store)
        assert error.value.slug == "registry-refused"
        assert not elsewhere.seen


@pytest.mark.fault("REG-15")
@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("7", 7, 7), ("x", 0.1, 0.4), ("-3", 0.1, 0.4), ("1000000000", 30, 30), ("", 0.1, 0.4), ("Mon, 01 Jan", 0.1, 0.4)],
)
def test_retry_after_is_honoured_up_to_a_cap(far: ScriptedRegistry, value: str, least: float, most: float) -> None:
    far.add_image("app", "1", b"x")
    far.script("GET", "manifests/1", Reply(429, headers={"Retry-After": value}))
    time = Time()
    with client(time) as ours:
        assert ours.read(f"{far.host}/app:1")
    assert least <= time.slept[0] <= most


@pytest.mark.fault("REG-15")
def test_a_date_to_retry_after(far: ScriptedRegistry) -> None:
    from email.utils import formatdate

    far.add_image("app", "1", b"x")
    far.script("GET", "manifests/1", Reply(429, headers={"Retry-After": formatdate(time.time() + 12, usegmt=True)}))
    watch = Time()
    with client(watch) as ours:
        assert ours.read(f"{far.host}/app:1")
    assert 9 <= watch.slept[0] <= 12


@pytest.mark.fault("REG-15")
def test_who_is_throttled_on_and_on_is_told(far: ScriptedRegistry) -> None:
    far.script("GET", "manifests/1", *[Reply(429, headers={"Retry-After": "25"})] * 9)
    watch = Time()
    with client(watch) as ours, pytest.raises(NetworkError) as error:
        ours.read(f"{far.host}/app:1")
    assert error.value.slug == "registry-throttled"
    assert "rate limited" in error.value.brief
    assert sum(watch.slept) <= 60


@pytest.mark.fault("REG-16")
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_statuses_that_may_pass_are_repeated(far: ScriptedRegistry, status: int) -> None:
    far.add_image("app", "1", b"x")
    far.script("GET", "manifests/1", Reply(status), Reply(status))
    with client() as ours:
        assert ours.read(f"{far.host}/app:1")
    assert len(far.asked("GET", "manifests/1")) == 3


@pytest.mark.fault("REG-16")
@pytest.mark.parametrize("status", [400, 501])
def test_statuses_that_stay_are_not(far: ScriptedRegistry, status: int) -> None:
    body = json.dumps({"errors": [{"code": "NOT_SO", "message": "no \x1b[31mway"}]}).encode()
    far.script("GET", "manifests/1", Reply(status, body))
    with client() as ours, pytest.raises(RefusedError) as error:
        ours.read(f"{far.host}/app:1")
    assert len(far.asked("GET", "manifests/1")) == 1
    assert "NOT_SO: no" in str(error.value.cause)
    assert "\x1b" not in str(error.value.cause)
    assert not error.value.transient


@pytest.mark.fault("REG-16")
@pytest.mark.fault("REG-23")
def test_what_is_not_there_is_none(far: ScriptedRegistry) -> None:
    with client() as ours:
        assert ours.read(f"{far.host}/app:1") is None
    far.add_image("app", "1", b"x")
    far.script("GET", "manifests/1", Reply(404))
    with client() as ours:
        assert ours.read(f"{far.host}/app:1") is None


@pytest.mark.fault("REG-17")
@pytest.mark.parametrize("where", ["before headers", "within the body"])
def test_a_hang_ends_and_is_named(far: ScriptedRegistry, store: LocalStore, where: str) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))

    def hang(handler: Any) -> None:
        if where == "within the body":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(NOISE)))
            handler.end_headers()
            handler.wfile.flush()
        time.sleep(0.6)
        handler.hang_up()

    far.script("GET", f"blobs/{layer.blob.digest}", *[hang] * 5)
    with pytest.raises(NetworkError) as error:
        pull(far, store, idle=0.2)
    phase = "waiting for an answer" if where == "before headers" else "reading the answer"
    assert "nothing within 0.2 s" in str(error.value.cause)
    assert phase in str(error.value.cause)
    assert nothing_kept(store)


@pytest.mark.fault("REG-17")
def test_a_hang_in_tls_ends_and_is_named() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with client(idle=0.2) as ours, pytest.raises(NetworkError) as error:
            ours.read(f"{host}/app:1")
    assert host in error.value.brief
    assert "nothing within" in str(error.value.cause)


@pytest.mark.fault("REG-17")
def test_an_interrupt_ends_a_transfer_that_hangs(far: ScriptedRegistry, store: LocalStore) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    hanging = threading.Event()
    over = threading.Event()

    def hang(handler: Any) -> None:
        hanging.set()
        over.wait(20)
        handler.hang_up()

    far.script("GET", f"blobs/{layer.blob.digest}", hang)

    def interrupt(done: int, total: int) -> None:
        if hanging.is_set():
            raise KeyboardInterrupt

    began = time.monotonic()
    with client(idle=30.0) as ours, store.lease(), pytest.raises(KeyboardInterrupt):
        ours.pull(f"{far.host}/app:1", store, progress=interrupt)
    waited = time.monotonic() - began
    over.set()
    assert waited < 10


@pytest.mark.fault("REG-17")
def test_what_is_closed_asks_nothing_more(far: ScriptedRegistry, store: LocalStore) -> None:
    far.add_image("app", "1", NOISE)
    with client() as ours:
        ours.pull(f"{far.host}/app:1", store)
    far.seen.clear()
    with pytest.raises(NetworkError) as error:
        ours.pull(f"{far.host}/app:1", store)
    assert "stopped" in str(error.value.cause)
    assert not far.seen


@pytest.mark.fault("REG-18")
@pytest.mark.parametrize("what", ["^/v2/$", "manifests", "blobs"])
def test_a_page_is_no_answer_of_a_registry(far: ScriptedRegistry, store: LocalStore, what: str) -> None:
    far.add_image("app", "1", NOISE)
    page = Reply(body=b"<html>Please log in to the WLAN</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    far.script("GET", what, page, page)
    with pytest.raises(RefusedError) as error:
        pull(far, store)
    assert error.value.slug == "registry-answer"
    assert not error.value.transient
    assert nothing_kept(store)


@pytest.mark.fault("REG-18")
def test_a_refusal_of_fifty_megabytes_is_not_read(far: ScriptedRegistry) -> None:
    sent: list[int] = []

    def big(handler: Any) -> None:
        handler.send_response(400)
        handler.send_header("Content-Length", str(50 << 20))
        handler.end_headers()
        try:
            for _ in range(50 << 4):
                handler.wfile.write(b"<" * 65_536)
                sent.append(65_536)
        except OSError:
            handler.close_connection = True

    far.script("GET", "manifests/1", big)
    with client() as ours, pytest.raises(RefusedError) as error:
        ours.read(f"{far.host}/app:1")
    assert len(str(error.value.cause)) < 500
    assert sum(sent) < 20 << 20


@pytest.mark.fault("REG-19")
@pytest.mark.parametrize(
    ("header", "change", "fine"),
    [
        ("", {}, True),
        ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", {}, True),
        ("text/plain", {}, True),
        (INDEX, {}, False),
        (MANIFEST, {"mediaType": INDEX}, False),
        (MANIFEST, {"manifests": []}, False),
        (MANIFEST, {"layers": None, "manifests": []}, False),
    ],
)
def test_a_manifest_that_can_be_read_in_two_ways(
    far: ScriptedRegistry, header: str, change: dict[str, Any], *, fine: bool
) -> None:
    image = far.add_image("app", "1", b"x")
    body = {**json.loads(image.manifest_bytes()), **change}
    far.manifests["app", "1"] = header, json.dumps(body).encode()
    with client() as ours:
        if fine:
            assert ours.read(f"{far.host}/app:1")
            return
        with pytest.raises(CorruptError) as error:
            ours.read(f"{far.host}/app:1")
    assert error.value.slug == "image-format"


@pytest.mark.fault("REG-20")
@pytest.mark.parametrize("kind", ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"])
def test_schema_1_is_refused_by_name(far: ScriptedRegistry, kind: str) -> None:
    body = {"schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": [], "history": []}
    far.manifests["app", "1"] = kind, json.dumps(body).encode()
    with client() as ours, pytest.raises(CorruptError) as error:
        ours.read(f"{far.host}/app:1")
    assert "schema 1, which is not supported" in error.value.brief


@pytest.mark.fault("REG-21")
@pytest.mark.parametrize("kind", ["large", "deep", "twice", "no json", "a list"])
def test_manifests_that_cost_too_much_or_mean_too_much(far: ScriptedRegistry, kind: str) -> None:
    data = {
        "large": b'{"schemaVersion":2,"x":"' + b"x" * (5 << 20) + b'"}',
        "deep": b'{"schemaVersion":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "twice": b'{"schemaVersion":2,"layers":[],"layers":[]}',
        "no json": b"{",
        "a list": b"[]",
    }[kind]
    far.manifests["app", "1"] = MANIFEST, data
    with client() as ours, pytest.raises((CorruptError, RefusedError)) as error:
        ours.read(f"{far.host}/app:1")
    assert error.value.slug in {"image-format", "registry-answer"}


def index(far: ScriptedRegistry, repository: str, tag: str, entries: list[dict[str, Any]], kind: str = INDEX) -> str:
    data = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
    far.manifests[repository, tag] = far.manifests[repository, sha256(data)] = kind, data
    return sha256(data)


def entry(far: ScriptedRegistry, repository: str, digest: str, platform: str = "") -> dict[str, Any]:
    kind, data = far.manifests[repository, digest]
    found: dict[str, Any] = {"mediaType": kind, "digest": digest, "size": len(data)}
    if platform:
        found["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return found


@pytest.mark.fault("REG-22")
@pytest.mark.parametrize("kind", [INDEX, DOCKER_INDEX])
def test_the_image_for_the_platform_is_chosen(far: ScriptedRegistry, kind: str) -> None:
    images = {
        one: far.add_image("app", one, one.encode())
        for one in ("windows-amd64", "linux-amd64", "linux-arm-v6", "linux-arm-v7", "unknown-unknown")
    }
    entries = [entry(far, "app", image.digest, one.replace("-", "/")) for one, image in images.items()]
    index(far, "app", "all", entries, kind)
    for wanted in ("linux-amd64", "linux-arm-v7", "windows-amd64"):
        os_name, architecture, *variant = wanted.split("-")
        platform = PlatformFile(os=os_name, architecture=architecture, variant="".join(variant))
        with client(platform=platform) as ours:
            found = ours.read(f"{far.host}/app:all")
        assert found
        assert found.digest == images[wanted].digest


@pytest.mark.fault("REG-22")
def test_an_index_without_the_platform_says_what_it_has(far: ScriptedRegistry) -> None:
    image = far.add_image("app", "1", b"x")
    index(
        far, "app", "all", [entry(far, "app", image.digest, "linux/s390x"), entry(far, "app", image.digest, "aix/ppc")]
    )
    with client(platform=PlatformFile(os="linux", architecture="amd64")) as ours, pytest.raises(UsageError) as error:
        ours.read(f"{far.host}/app:all")
    assert error.value.slug == "unknown-image"
    assert "aix/ppc, linux/s390x" in str(error.value.cause)


@pytest.mark.fault("REG-22")
def test_indexes_within_indexes_are_bounded(far: ScriptedRegistry) -> None:
    image = far.add_image("app", "1", b"x")
    inner = str(image.digest)
    for level in range(1, 6):
        inner = index(far, "app", f"level-{level}", [entry(far, "app", inner)])
    with client() as ours:
        assert ours.read(f"{far.host}/app:level-2")
        with pytest.raises(CorruptError) as error:
            ours.read(f"{far.host}/app:level-5")
    assert error.value.slug == "image-format"


@pytest.mark.fault("REG-30")
def test_a_content_encoding_nobody_asked_for_is_undone_once(far: ScriptedRegistry, store: LocalStore) -> None:
    far.add_image("app", "1", NOISE, b"second" * 1000)
    far.compress_bodies = True
    store.write(pull(far, store), ["app"])
    assert store.check() == ()
    assert {one.headers["Accept-Encoding"] for one in far.seen} == {"identity"}


@pytest.mark.fault("REG-30")
def test_an_encoded_blob_that_is_cut_begins_anew(far: ScriptedRegistry, store: LocalStore) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    far.compress_bodies = True
    far.script("GET", f"blobs/{layer.blob.digest}", Cut(100_000))
    store.write(pull(far, store), ["app"])
    assert store.check() == ()
    assert "Range" not in far.asked("GET", f"blobs/{layer.blob.digest}")[-1].headers


@pytest.mark.fault("REG-30")
def test_an_unknown_encoding_is_refused(far: ScriptedRegistry) -> None:
    far.script("GET", "manifests/1", Reply(body=b"x", headers={"Content-Encoding": "br", "Content-Type": MANIFEST}))
    with client() as ours, pytest.raises(RefusedError) as error:
        ours.read(f"{far.host}/app:1")
    assert error.value.slug == "registry-answer"


@pytest.mark.fault("REG-31")
@pytest.mark.parametrize("kind", ["ignored", "another range", "multipart", "another size", "416"])
def test_a_range_that_does_not_follow_is_never_spliced(far: ScriptedRegistry, kind: str) -> None:
    layer = far.add_layer("app", NOISE, NOISE, LAYER_TAR)
    put(far, "app", Image().with_layers(layer))
    size = len(NOISE)
    answers = {
        "ignored": Reply(body=NOISE),
        "another range": Reply(206, NOISE[50:], {"Content-Range": f"bytes 50-{size - 1}/{size}"}),
        "another size": Reply(206, NOISE[100:], {"Content-Range": f"bytes 100-{size - 1}/{size + 5}"}),
        "multipart": Reply(206, b"--x", {"Content-Type": "multipart/byteranges; boundary=x"}),
        "416": Reply(416),
    }
    far.script("GET", f"blobs/{layer.blob.digest}", Cut(100), answers[kind])
    with client() as ours:
        assert ours.read(f"{far.host}/app:1")
        # To its end, where other bytes would be an error: this reader cannot begin anew.
        assert ours.open(layer.blob.digest).read() == NOISE


@pytest.mark.fault("REG-32")
@pytest.mark.parametrize(
    ("text", "registry", "repository", "identifier"),
    [
        ("localhost:5000/x", "localhost:5000", "x", "latest"),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest"),
        ("x/y", "index.docker.io", "x/y", "latest"),
        ("x", "index.docker.io", "library/x", "latest"),
        ("docker.io/x:1", "index.docker.io", "library/x", "1"),
        ("r.example/x:1@sha256:" + "a" * 64, "r.example", "x", "sha256:" + "a" * 64),
        ("r.example/x:" + "t" * 128, "r.example", "x", "t" * 128),
        ("r.example/X", "", "", ""),
        ("r.example/x:" + "t" * 129, "", "", ""),
        ("r.example/x@sha256:" + "A" * 64, "", "", ""),
        ("bücher.example/x", "", "", ""),
        ("r.example/x/", "", "", ""),
        ("r.example/../x", "", "", ""),
        ("r.example/x?y", "", "", ""),
    ],
)
def test_references_are_those_of_the_grammar(text: str, registry: str, repository: str, identifier: str) -> None:
    from packrunner.images.reference import Reference

    if not registry:
        with pytest.raises(UsageError):
            Reference.parse(text)
        return
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.identifier) == (registry, repository, identifier)


@pytest.mark.fault("REG-36")
def test_a_connection_that_died_while_it_was_kept_is_no_error(far: ScriptedRegistry) -> None:
    far.add_image("app", "1", b"x")

    def answer_and_leave(handler: Any) -> None:
        kind, data = far.manifests["app", "1"]
        handler.send(Reply(body=data, headers={"Content-Type": kind}))
        handler.hang_up()

    far.script("GET", "manifests/1", answer_and_leave)
    with client() as ours:
        assert ours.read(f"{far.host}/app:1")
        assert ours.read(f"{far.host}/app:1")


@pytest.mark.fault("ARC-29")
def test_a_blob_that_is_right_and_no_layer_of_the_image(far: ScriptedRegistry, store: LocalStore) -> None:
    kept = gzip.compress(b"other", mtime=0)
    far.blobs["app", sha256(kept)] = kept
    put(far, "app", Image().with_layers(layer_of(NOISE, kept, LAYER_GZIP)))
    with pytest.raises(CorruptError) as error:
        pull(far, store)
    assert error.value.slug == "archive-digest"
    assert nothing_kept(store)


@pytest.mark.fault("ARC-30")
@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:" + "A" * 64, "md5:abc", "", "sha256:" + "a" * 64 + "\n"])
def test_digests_that_are_none_become_no_address(far: ScriptedRegistry, digest: str) -> None:
    image = far.add_image("app", "1", b"x")
    body = json.loads(image.manifest_bytes())
    body["config"]["digest"] = digest
    far.manifests["app", "1"] = MANIFEST, json.dumps(body).encode()
    with client() as ours, pytest.raises(CorruptError) as error:
        ours.read(f"{far.host}/app:1")
    assert error.value.slug == "image-format"
    assert not far.asked("GET", "blobs")
