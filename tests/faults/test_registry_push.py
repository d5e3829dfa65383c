"""What registries do wrong while images are written to them (REG): blobs arrive whole, tags move last or not at all."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import NetworkError, PackrunnerError, RefusedError
from packrunner.images.image import Image, Layer
from packrunner.images.registry import upload
from packrunner.images.registry.credentials import Anonymous, Login
from packrunner.images.registry.registry import Registry
from packrunner.images.store import LocalStore
from tests.registry import Reply, ScriptedRegistry, Take, Time, error, registry, settings, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packrunner.images.registry.registry import Pushed

NOISE = random.Random(6).randbytes(3_000_000)
"""Does not become smaller, so that its upload has parts."""


class Ana:
    """A login for every registry."""

    def of(self, registry: str, repository: str) -> Login | None:
        return Login(kind="basic", user="ana", secret="pass word", source="a test")


@pytest.fixture
def far() -> Iterator[ScriptedRegistry]:
    with registry() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART", 1_000_000)


def image_of(store: LocalStore, *contents: bytes) -> Image:
    blobs = [store.add(data) for data in contents]
    return Image().with_layers(*(Layer(diff_id=blob.digest, blob=blob) for blob in blobs))


def push(far: ScriptedRegistry, store: LocalStore, image: Image, *names: str, **changes: Any) -> Pushed:
    time = changes.pop("time", None)
    logins = changes.pop("logins", Anonymous())
    with Registry(settings(time, **changes), logins, directory=f"{store.root}/compressed") as ours:
        return ours.push(image, [f"{far.host}/{name}" for name in names or ("app:1",)], store)


def arrived(far: ScriptedRegistry, pushed: Pushed, repository: str = "app") -> bool:
    """Whether everything is there and right."""
    kept = {digest: data for (name, digest), data in far.blobs.items() if name == repository}
    blobs = [pushed.image.config.digest, *(layer.blob.digest for layer in pushed.image.layers)]
    return all(digest in kept and sha256(kept[digest]) == digest for digest in blobs)


def test_an_image_is_pushed_and_means_the_same(far: ScriptedRegistry, store: LocalStore, tmp_path: Path) -> None:
    image = image_of(store, NOISE, b"second layer" * 1000)
    pushed = push(far, store, image, "app:1", "app:latest")
    assert arrived(far, pushed)
    assert far.manifests["app", "1"] == far.manifests["app", "latest"]
    assert pushed.digest == sha256(far.manifests["app", "1"][1]) == pushed.image.digest
    assert pushed.image.config_bytes() == image.config_bytes()
    other = LocalStore(str(tmp_path / "other"))
    with Registry(settings(), Anonymous()) as ours, other.lease():
        found = ours.pull(f"{far.host}/app:1", other)
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in image.layers]


def test_an_unchanged_image_costs_few_requests_and_no_bytes(far: ScriptedRegistry, store: LocalStore) -> None:
    far.auth = "bearer"
    image = image_of(store, NOISE, *(b"%d" % number * 1000 for number in range(20)))
    first = push(far, store, image, "app:1", "app:2", logins=Ana())
    far.seen.clear()
    again = push(far, store, image, "app:1", "app:2", logins=Ana())
    assert again.digest == first.digest
    assert len(far.seen) <= 10
    assert far.blob_bytes == 0
    assert not far.asked("PUT")
    assert (again.layers_sent, again.layers_there, again.sent) == (0, 21, 0)


def test_layers_are_compressed_once(far: ScriptedRegistry, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from packrunner.images.compress import Compressor

    image = image_of(store, NOISE)
    push(far, store, image)
    monkeypatch.setattr(Compressor, "pieces", None)
    push(far, store, image.with_env("A", "b"), "app:2")
    assert ("app", "2") in far.manifests


def test_what_is_remembered_wrongly_does_not_matter(far: ScriptedRegistry, store: LocalStore) -> None:
    image = image_of(store, NOISE)
    first = push(far, store, image)
    name = f"{store.root}/compressed/{image.layers[0].diff_id.hex}.gzip"
    for text in ("{", json.dumps({"digest": "sha256:" + "0" * 64, "size": 5}), json.dumps({"digest": "x", "size": 5})):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
        assert push(far, store, image).digest == first.digest


@pytest.mark.fault("REG-07")
def test_an_upload_elsewhere_gets_no_login(far: ScriptedRegistry, store: LocalStore) -> None:
    far.auth = "basic"
    with registry() as elsewhere:
        elsewhere.uploads["session-0"] = bytearray()
        location = f"{elsewhere.url}/v2/app/blobs/uploads/session-0"
        far.script("POST", "uploads", Reply(202, headers={"Location": location}))
        push(far, store, image_of(store, NOISE), logins=Ana())
        assert elsewhere.asked("PUT")
        assert all("Authorization" not in one.headers and "Cookie" not in one.headers for one in elsewhere.seen)
        assert any("Authorization" in one.headers for one in far.seen)


@pytest.mark.fault("REG-07")
@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "//[", "file:///etc/passwd"])
def test_an_upload_to_no_address_is_refused(far: ScriptedRegistry, store: LocalStore, location: str) -> None:
    far.script("POST", "uploads", Reply(202, headers={"Location": location} if location else {}))
    with pytest.raises(RefusedError) as failed:
        push(far, store, image_of(store, NOISE))
    assert failed.value.slug == "registry-answer"
    assert not far.manifests


@pytest.mark.fault("REG-12")
@pytest.mark.parametrize(
    ("method", "pattern", "number"), [("PATCH", "uploads", 2), ("PUT", "uploads", 0), ("PUT", "manifests", 0)]
)
def test_a_token_that_expires_on_the_way_is_renewed(
    far: ScriptedRegistry, store: LocalStore, method: str, pattern: str, number: int
) -> None:
    far.auth = "bearer"

    def expire(handler: Any) -> None:
        far.tokens[:] = [f"expired-{len(far.tokens)}-{index}" for index, _ in enumerate(far.tokens)]
        handler.body()
        handler.send(error(401, "UNAUTHORIZED", {"WWW-Authenticate": f'Bearer realm="{far.url}/token",service="here"'}))

    far.script(method, pattern, *[None] * number, expire)
    pushed = push(far, store, image_of(store, NOISE), logins=Ana())
    assert arrived(far, pushed)
    sent = [one.size for one in far.asked("PATCH")]
    assert sum(sent) <= len(NOISE) + 1_100_000, "what was confirmed is not sent again"


@pytest.mark.fault("REG-16")
def test_a_part_that_fails_is_taken_up_where_the_registry_is(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("PATCH", "uploads", None, Reply(503))
    assert arrived(far, push(far, store, image_of(store, NOISE)))
    assert len(far.asked("POST", "uploads")) == 2  # the layer's and the configuration's


@pytest.mark.fault("REG-17")
def test_a_registry_that_stops_reading_is_left(far: ScriptedRegistry, store: LocalStore) -> None:
    def deaf(handler: Any) -> None:
        time.sleep(1.0)
        handler.hang_up()

    far.script("PATCH", "uploads", *[deaf] * 9)
    with pytest.raises(NetworkError) as failed:
        push(far, store, image_of(store, random.Random(1).randbytes(30 << 20)), idle=0.2)
    assert failed.value.slug == "registry-unreachable"
    assert "nothing within 0.2 s" in str(failed.value.cause)
    assert not far.manifests


@pytest.mark.fault("REG-24")
@pytest.mark.parametrize(("method", "where"), [("PATCH", 0), ("PATCH", 1), ("PUT", 0)])
def test_a_lost_session_is_begun_anew(far: ScriptedRegistry, store: LocalStore, method: str, where: int) -> None:
    def lose(handler: Any) -> None:
        handler.body()
        far.uploads.clear()
        handler.send(error(404, "BLOB_UPLOAD_UNKNOWN"))

    far.script(method, "uploads", *[None] * where, lose)
    assert arrived(far, push(far, store, image_of(store, NOISE)))


@pytest.mark.fault("REG-24")
def test_a_session_that_is_lost_again_and_again_ends_in_an_error(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("PATCH", "uploads", *[error(404, "BLOB_UPLOAD_UNKNOWN")] * 9)
    with pytest.raises(NetworkError) as failed:
        push(far, store, image_of(store, NOISE))
    assert "lost the upload" in str(failed.value.cause)
    assert len(far.asked("POST", "uploads")) == 3
    assert not far.manifests


@pytest.mark.fault("REG-01")
@pytest.mark.fault("REG-25")
@pytest.mark.parametrize("taken", [0, 1, 2, 500_000, 999_999])
def test_an_upload_goes_on_at_what_was_confirmed(far: ScriptedRegistry, store: LocalStore, taken: int) -> None:
    far.script("PATCH", "uploads", None, Take(taken))
    assert arrived(far, push(far, store, image_of(store, NOISE)))
    starts = [one.headers.get("Content-Range", "") for one in far.asked("PATCH")]
    assert f"{1_000_000 + taken}-" in " ".join(starts)


@pytest.mark.fault("REG-25")
@pytest.mark.parametrize("text", ["", "0--1", "0-0", "bytes=0-0"])
def test_nothing_confirmed_is_none(far: ScriptedRegistry, store: LocalStore, text: str) -> None:
    def lose_bytes(handler: Any) -> None:
        handler.body()
        next(iter(far.uploads.values())).clear()
        handler.send(Reply(503))

    def tell(handler: Any) -> None:
        handler.send(Reply(204, headers={"Range": text} if text else {}))

    far.script("PATCH", "uploads", lose_bytes)
    far.script("GET", "uploads", tell)
    assert arrived(far, push(far, store, image_of(store, NOISE)))


@pytest.mark.fault("REG-25")
def test_a_range_with_less_is_resumed(far: ScriptedRegistry, store: LocalStore) -> None:
    def keep_less(handler: Any) -> None:
        session = next(iter(far.uploads))
        far.uploads[session].extend(handler.body()[:300_000])
        headers = {"Location": f"/v2/app/blobs/uploads/{session}", "Range": "0-299999"}
        handler.send(Reply(202, headers=headers))

    far.script("PATCH", "uploads", keep_less)
    assert arrived(far, push(far, store, image_of(store, NOISE)))


@pytest.mark.fault("REG-25")
def test_a_range_with_more_is_refused(far: ScriptedRegistry, store: LocalStore) -> None:
    headers = {"Location": "/v2/app/blobs/uploads/session-9", "Range": "0-9999999"}
    far.script("PATCH", "uploads", Reply(202, headers=headers))
    with pytest.raises(RefusedError) as failed:
        push(far, store, image_of(store, NOISE))
    assert "confirms 10000000 bytes" in str(failed.value.cause)


@pytest.mark.fault("REG-25")
def test_a_416_is_answered_by_asking_where_it_is(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("PATCH", "uploads", None, Reply(416))
    assert arrived(far, push(far, store, image_of(store, NOISE)))
    assert far.asked("GET", "uploads")


@pytest.mark.fault("REG-26")
def test_a_least_size_of_parts_and_a_query_of_its_own(far: ScriptedRegistry, store: LocalStore) -> None:
    far.least_part, far.own_query = 2_500_000, True
    assert arrived(far, push(far, store, image_of(store, NOISE)))
    assert far.asked("PATCH")[0].size == 2_500_000
    last = far.asked("PUT", "uploads")[0].path
    assert "?_state=abc%3D&digest=sha256" in last


@pytest.mark.fault("REG-27")
@pytest.mark.parametrize("status", [202, 401, 403, 404, 405])
def test_a_mount_that_is_refused_becomes_an_upload(far: ScriptedRegistry, store: LocalStore, status: int) -> None:
    image = image_of(store, NOISE)
    push(far, store, image, "one:1")
    session = {"Location": "/v2/two/blobs/uploads/unused"} if status == 202 else {}
    far.script("POST", "mount=", Reply(status, headers=session))
    pushed = push(far, store, image, "two:1")
    assert arrived(far, pushed, "two")
    assert pushed.layers_sent == 1


@pytest.mark.fault("REG-27")
def test_a_blob_is_mounted_from_where_it_is(far: ScriptedRegistry, store: LocalStore) -> None:
    image = image_of(store, NOISE)
    push(far, store, image, "one:1")
    far.seen.clear()
    pushed = push(far, store, image, "two:1")
    assert arrived(far, pushed, "two")
    assert far.blob_bytes < 2000, "the configuration alone"
    assert (pushed.layers_sent, pushed.layers_there) == (0, 1)


@pytest.mark.fault("REG-28")
def test_an_end_whose_answer_got_lost_is_proven(far: ScriptedRegistry, store: LocalStore) -> None:
    def keep_and_hang_up(handler: Any) -> None:
        handler.own()
        handler.hang_up(reset=True)

    far.script("PUT", "uploads", keep_and_hang_up)
    pushed = push(far, store, image_of(store, NOISE))
    assert arrived(far, pushed)
    assert sum(one.size for one in far.asked("PATCH")) < len(NOISE) + 10_000, "no second body"


@pytest.mark.fault("REG-29")
@pytest.mark.parametrize("number", range(3))
def test_a_failure_after_some_blobs_leaves_the_tag(far: ScriptedRegistry, store: LocalStore, number: int) -> None:
    old = push(far, store, image_of(store, b"old"))
    contents = [random.Random(index).randbytes(100_000) for index in range(3)]
    far.script("PUT", "uploads", *[None] * number, Reply(400))
    with pytest.raises(RefusedError):
        push(far, store, image_of(store, *contents))
    assert sha256(far.manifests["app", "1"][1]) == old.digest
    far.unscript()
    new = push(far, store, image_of(store, *contents))
    assert sha256(far.manifests["app", "1"][1]) == new.digest


@pytest.mark.fault("REG-29")
def test_the_order_is_layers_configuration_manifest(far: ScriptedRegistry, store: LocalStore) -> None:
    image = image_of(store, NOISE, b"second")
    push(far, store, image, "app:1", "app:2")
    written = [one.path for one in far.asked("PUT")]
    assert [path.partition("?")[0].rpartition("/")[0] for path in written[-2:]] == ["/v2/app/manifests"] * 2
    config = [index for index, path in enumerate(written) if image.config.digest.hex in path]
    assert config == [len(written) - 3]


@pytest.mark.cnb("EXP-32")
def test_a_tag_that_is_refused_leaves_the_others(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("PUT", "manifests/frozen", error(403, "DENIED"))
    pushed = push(far, store, image_of(store, b"x"), "app:1", "app:frozen", "app:2")
    assert pushed.written == (f"{far.host}/app:1", f"{far.host}/app:2")
    assert list(pushed.failed) == [f"{far.host}/app:frozen"]
    assert pushed.failed[f"{far.host}/app:frozen"].slug == "registry-denied"
    assert "DENIED it is" in str(pushed.failed[f"{far.host}/app:frozen"].cause)


@pytest.mark.fault("REG-36")
def test_a_kept_connection_that_dies_under_an_upload(far: ScriptedRegistry, store: LocalStore) -> None:
    def answer_and_leave(handler: Any) -> None:
        handler.send(handler.own())
        handler.hang_up()

    far.script("POST", "uploads", answer_and_leave)
    far.script("PATCH", "uploads", answer_and_leave, answer_and_leave)
    assert arrived(far, push(far, store, image_of(store, NOISE)))


@pytest.mark.cnb("RES-06")
def test_writing_is_checked_by_beginning_an_upload(far: ScriptedRegistry) -> None:
    with Registry(settings(), Anonymous()) as ours:
        assert ours.check_write(f"{far.host}/app:1") is None
        assert not far.uploads, "what was begun is given back"
        far.script("POST", "uploads", error(403, "DENIED"))
        why = ours.check_write(f"{far.host}/app:1")
        assert why
        assert "DENIED it is" in why
        far.script("GET", "manifests", error(403, "DENIED"))
        assert "DENIED it is" in str(ours.check_read(f"{far.host}/app:1"))
        assert ours.check_read(f"{far.host}/app:1") is None


def test_one_repository_that_refuses_leaves_the_other(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("POST", "v2/shut/blobs/uploads", *[error(403, "DENIED")] * 3)
    pushed = push(far, store, image_of(store, b"x"), "shut:1", "app:1")
    assert list(pushed.failed) == [f"{far.host}/shut:1"]
    far.script("POST", "v2/shut/blobs/uploads", *[error(403, "DENIED")] * 3)
    with pytest.raises(PackrunnerError):
        push(far, store, image_of(store, b"y"), "shut:1")


def test_layers_that_only_a_registry_has_go_from_there(far: ScriptedRegistry, store: LocalStore) -> None:
    far.add_image("base", "1", NOISE)
    with registry() as target, Registry(settings(), Anonymous()) as ours:
        base = ours.read(f"{far.host}/base:1")
        assert base
        pushed = ours.push(base.with_env("A", "b"), [f"{target.host}/app:1"], store)
        assert arrived(target, pushed)
        assert pushed.image.layers == base.layers


@pytest.mark.cnb("EXP-06")
def test_layers_of_an_image_that_was_only_read_are_mounted(far: ScriptedRegistry, store: LocalStore) -> None:
    base = far.add_image("base", "1", NOISE)
    with Registry(settings(), Anonymous()) as ours:
        read = ours.read(f"{far.host}/base:1")
        assert read
        far.seen.clear()
        pushed = ours.push(read.with_env("A", "b"), [f"{far.host}/app:1"], store)
    assert arrived(far, pushed)
    assert not far.asked("GET", f"blobs/{base.layers[0].blob.digest}")
    assert pushed.layers_sent == 0


def test_what_came_compressed_is_sent_byte_for_byte(far: ScriptedRegistry, store: LocalStore) -> None:
    base = far.add_image("base", "1", b"layer")
    with Registry(settings(), Anonymous()) as ours, store.lease():
        image = ours.pull(f"{far.host}/base:1", store)
        pushed = ours.push(image, [f"{far.host}/copy:1"], store)
    assert pushed.digest == base.digest
    assert far.manifests["copy", "1"] == far.manifests["base", "1"]


def test_time_is_the_settings_own(far: ScriptedRegistry, store: LocalStore) -> None:
    watch = Time()
    far.script("HEAD", "blobs", Reply(503))
    push(far, store, image_of(store, b"x"), time=watch)
    assert len(watch.slept) == 1
