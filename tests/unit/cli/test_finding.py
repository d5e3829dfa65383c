"""Where images come from and go to, with a registry and a Docker engine of plain values."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from packrunner.cli.wiring.finding import Finder, is_name
from packrunner.cli.wiring.sending import Sending, Sent
from packrunner.errors import ExportError, RefusedError, UsageError
from packrunner.events import Finished, StepDone
from packrunner.images.image import Descriptor, Image, digest_of
from packrunner.images.layer import File, write_layer
from packrunner.images.registry.registry import Pushed
from packrunner.images.store import LocalStore
from packrunner.lifecycle.complete import complete
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import merge
from tests.fakes import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from packrunner.cli.services import Known
    from packrunner.cli.wiring.registries import Registries
    from packrunner.errors import PackrunnerError
    from packrunner.names import Digest

REG = "reg.example.com"


@dataclass
class FakeRegistry:
    """A registry; `store` has the blobs of its images."""

    store: LocalStore
    images: dict[str, Image] = field(default_factory=dict)
    refusals: dict[str, PackrunnerError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    pushes: list[tuple[Image, tuple[str, ...], str]] = field(default_factory=list)

    def read(self, reference: str) -> Image | None:
        self.asked.append(f"read {reference}")
        return self.images.get(reference)

    def holds(self, name: str, digest: str) -> bool:
        found = self.images.get(name)
        return found is not None and found.digest == digest

    def open(self, digest: Digest) -> BinaryIO:
        self.asked.append(f"open {digest.short}")
        return self.store.open(digest)

    def pull(self, reference: str, store: LocalStore, *, progress: Callable[[int, int], None]) -> Image:
        self.asked.append(f"pull {reference}")
        image = self.images[reference]
        for layer in image.layers:
            store.add(self.store.open(layer.blob.digest).read())
        return image

    def refusal(self, name: str) -> PackrunnerError | None:
        self.asked.append(f"refusal {name}")
        return self.refusals.get(name)

    def push(
        self,
        image: Image,
        names: Sequence[str],
        blobs: Any,
        *,
        compression: str,
        progress: Callable[[int, int], None],
    ) -> Pushed:
        self.pushes.append((image, tuple(names), compression))
        failed = {name: self.refusals[name] for name in names if name in self.refusals}
        written = tuple(name for name in names if name not in failed)
        self.images.update(dict.fromkeys(written, image))
        return Pushed(
            image=image,
            digest=image.digest,
            written=written,
            sent=48_000,
            layers_sent=1,
            layers_there=3,
            failed=failed,
        )


@dataclass
class FakeDaemon:
    """A Docker engine's images, by name."""

    images: dict[str, Image] = field(default_factory=dict)
    reads: int = 0
    loads: list[tuple[str, ...]] = field(default_factory=list)

    def inspect(self, reference: str) -> Mapping[str, Any] | None:
        found = self.images.get(reference)
        return {"Id": str(found.config.digest)} if found else None

    def read(self, reference: str, store: LocalStore) -> Image | None:
        self.reads += 1
        return self.images.get(reference)

    def load(self, image: Image, names: Sequence[str], store: LocalStore) -> str:
        self.loads.append(tuple(names))
        self.images.update(dict.fromkeys(names, image))
        return str(image.config.digest)


class World:
    """A store, a registry, an engine, and what finds and sends among them."""

    def __init__(self, root: Path) -> None:
        self.here = LocalStore(str(root / "here"))
        self.registry = FakeRegistry(LocalStore(str(root / "there")))
        self.daemon = FakeDaemon()
        self.reporter = FakeReporter()

    @property
    def client(self) -> FakeRegistry:
        return self.registry

    def finder(self, policy: Any = "if-not-present") -> Finder:
        return Finder(self.here, cast("Registries", self), self.reporter, policy=policy, daemon=lambda: self.daemon)

    def sending(self, **flags: Any) -> Sending:
        request = merge(Flags(cwd="/apps/shop", image=f"{REG}/shop", **flags), {})
        return Sending(request, cast("Registries", self), self.here, self.reporter, daemon=lambda: self.daemon)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def image(store: LocalStore, text: str = "x", name: str = "") -> Image:
    layer = write_layer(store, [File(target="/f", data=text.encode())], created_by="layer").layer
    made = Image(labels={"text": text}).with_layers(layer)
    store.write(made, [name] if name else [])
    return made


def test_what_is_here_is_taken_and_nobody_is_asked(world: World) -> None:
    mine = image(world.here, name=f"{REG}/a:1")
    assert world.finder().read(f"{REG}/a:1").digest == mine.digest
    assert world.finder("never").read(f"{REG}/a:1").digest == mine.digest
    assert world.registry.asked == []


def test_what_is_not_here_is_pulled_once_and_kept_under_its_name(world: World) -> None:
    theirs = world.registry.images[f"{REG}/a:1"] = image(world.registry.store)
    finder = world.finder()
    assert finder.read(f"{REG}/a:1") == finder.read(f"{REG}/a:1")
    assert world.registry.asked == [f"read {REG}/a:1", f"pull {REG}/a:1"]
    kept = world.here.read(f"{REG}/a:1")
    assert kept is not None
    assert kept.digest == theirs.digest
    assert not finder.moving


def test_with_always_the_registrys_counts_unless_it_is_the_same(world: World) -> None:
    image(world.here, "old", name=f"{REG}/a:1")
    theirs = world.registry.images[f"{REG}/a:1"] = image(world.registry.store, "new")
    finder = world.finder("always")
    assert finder.read(f"{REG}/a:1").digest == theirs.digest
    assert finder.moving, "another one may be there the next time"
    world.registry.asked.clear()
    assert world.finder("always").read(f"{REG}/a:1").digest == theirs.digest
    assert world.registry.asked == [f"read {REG}/a:1"]
    # What was built here stays where its registry has the same, compressed.
    assert world.finder("always").read(f"{REG}/a:1").layers == theirs.layers
    del world.registry.images[f"{REG}/a:1"]
    assert world.finder("always").read(f"{REG}/a:1").digest == theirs.digest, "what no registry has is what is here"


def test_with_never_no_registry_is_asked(world: World) -> None:
    world.registry.images[f"{REG}/a:1"] = image(world.registry.store)
    with pytest.raises(UsageError) as caught:
        world.finder("never").read(f"{REG}/a:1")
    assert caught.value.slug == "unknown-image"
    assert caught.value.tries == ("--pull-policy if-not-present",)
    assert world.registry.asked == []


def test_images_of_our_own_are_in_no_registry(world: World) -> None:
    assert world.finder("always").find("localhost/packrunner/debian:13-python") is None
    assert world.registry.asked == []


def test_a_digest_says_which_image_is_meant(world: World) -> None:
    mine = image(world.here, name=f"{REG}/a:1")
    image(world.here, "other", name=f"{REG}/a:1")
    assert world.finder().read(f"{REG}/a@{mine.digest}").digest == mine.digest
    theirs = image(world.registry.store, "theirs")
    reference = f"{REG}/a@{theirs.digest}"
    world.registry.images[reference] = theirs
    assert world.finder().read(reference).digest == theirs.digest
    stored = world.here.read(f"{REG}/a:1")
    assert stored is not None
    assert stored.image.labels["text"] == "other", "the name still means what it meant"


@pytest.mark.cnb("EXP-06")
def test_a_previous_image_is_looked_at_and_its_layers_are_had_one_by_one(world: World) -> None:
    plain = image(world.registry.store)
    packed = gzip.compress(world.registry.store.open(plain.layers[0].blob.digest).read())
    world.registry.store.add(packed)
    blob = Descriptor(digest=digest_of(packed), size=len(packed))
    theirs = world.registry.images[f"{REG}/a"] = plain.with_blobs({plain.layers[0].diff_id: blob})
    finder = world.finder()
    found = finder.peek(f"{REG}/a")
    assert found == theirs
    assert world.registry.asked == [f"read {REG}/a"]
    assert finder.blobs == {plain.layers[0].diff_id: blob}
    whole = complete(theirs, world.here, finder.layer)
    # As it would have been made here: uncompressed, and so the same image on every machine.
    assert whole.digest == plain.digest
    assert world.here.has(plain.layers[0].diff_id)
    assert complete(whole, world.here, finder.layer) is whole
    assert world.registry.asked[1:] == [f"open {blob.digest.short}"]


def test_an_image_of_the_engine_is_copied_once_for_each_version(world: World) -> None:
    world.daemon.images["shop"] = image(world.here)
    assert world.finder().read("docker:shop").digest == world.finder().read("docker:shop").digest
    assert world.daemon.reads == 1
    world.daemon.images["shop"] = image(world.here, "newer")
    finder = world.finder()
    assert finder.read("docker:shop").labels["text"] == "newer"
    assert finder.moving
    with pytest.raises(UsageError):
        world.finder().read("docker:none")
    assert world.here.read("shop") is None, "names of images that were built here are not the engine's"


@pytest.mark.parametrize("text", ["docker:x", "oci:dir", "oci-archive:x.tar", "sha256:" + "0" * 64, "Not a name"])
def test_what_no_registry_can_have(text: str) -> None:
    assert not is_name(text)
    assert is_name("x")


@pytest.mark.cnb("RES-06")
def test_a_refusal_is_the_registrys_own_and_says_that_nothing_was_built(world: World) -> None:
    error = RefusedError(f"{REG} does not know you (401)", slug="registry-auth", tries=(f"packrunner login {REG}",))
    world.registry.refusals[f"{REG}/shop"] = error
    with pytest.raises(RefusedError) as caught:
        world.sending(push=True).check()
    assert caught.value.brief == f"{REG} does not know you (401); nothing was built"
    assert caught.value.tries == (f"packrunner login {REG}",)
    world.registry.asked.clear()
    world.sending().check()
    assert world.registry.asked == [], "what is not sent needs no right"
    world.registry.refusals.clear()
    world.sending(push=True, tags=(f"{REG}/other",), cache_image=f"{REG}/cache").check()
    assert world.registry.asked == [f"refusal {REG}/{name}" for name in ("shop", "other", "cache")]


def test_what_was_sent_is_told(world: World) -> None:
    mine = image(world.here)
    sent = world.sending(push=True, load=True, tags=(f"{REG}/shop:2",), compression="zstd").send(mine)
    assert sent.done == "Built, pushed and loaded"
    assert sent.facts() == {"pushed": str(mine.digest), "loaded": str(mine.config.digest)}
    ((pushed, names, compression),) = world.registry.pushes
    assert (pushed.digest, names, compression) == (mine.digest, (f"{REG}/shop", f"{REG}/shop:2"), "zstd")
    assert world.daemon.loads == [(f"{REG}/shop", f"{REG}/shop:2")]
    first = world.reporter.of(StepDone)[0]
    assert (first.phase, first.subject) == ("push", REG)
    assert first.detail == "1 sent, 48 kB; 3 layers there already"
    assert Sent().done == "Built"
    assert Sent().facts() == {}


@pytest.mark.cnb("EXP-32")
def test_a_name_that_failed_is_told_and_so_are_those_that_were_written(world: World) -> None:
    world.registry.refusals[f"{REG}/shop:2"] = RefusedError("no", slug="registry-denied")
    with pytest.raises(ExportError) as caught:
        world.sending(push=True, tags=(f"{REG}/shop:2",)).send(image(world.here))
    assert caught.value.slug == "image-write"
    assert f"{REG}/shop:2" in caught.value.brief
    assert caught.value.kept == f"it is there as {REG}/shop"


@dataclass
class Record:
    facts: dict[str, Any]


@dataclass
class Kept:
    """What the start module knows."""

    record: Record


def known(sent: Sent) -> Known:
    facts = {"elsewhere": sent.facts(), "when": 0.0, "summary": "1 file", "result": "the line"}
    return cast("Known", Kept(Record(facts)))


def test_nothing_changed_is_said_only_where_everything_is_still_there(world: World) -> None:
    mine = image(world.here, name=f"{REG}/shop")
    sending = world.sending(push=True, load=True)
    sent = sending.send(mine)
    assert sending.again(known(sent)) == "the line"
    assert "kept here and there" in world.reporter.of(Finished)[-1].text
    assert len(world.registry.pushes) == 1
    # Somebody else wrote to the name.
    world.registry.images[f"{REG}/shop"] = image(world.here, "other")
    assert sending.again(known(sent)) == "the line"
    assert "sent again" in world.reporter.of(Finished)[-1].text
    assert len(world.registry.pushes) == 2
    assert world.registry.images[f"{REG}/shop"].digest == mine.digest
    del world.daemon.images[f"{REG}/shop"]
    assert sending.again(known(sent)) == "the line"
    assert len(world.daemon.loads) == 3


def test_without_the_cache_of_others_only_a_build_helps(world: World) -> None:
    image(world.here, name=f"{REG}/shop")
    sending = world.sending(push=True, cache_image=f"{REG}/cache")
    assert sending.again(known(Sent())) == ""
    world.registry.images[f"{REG}/cache"] = image(world.registry.store)
    assert sending.again(known(Sent())) == "the line"
