"""push, pull, load and save: which names they mean, and what they print."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.cli import main
from tests.unit.cli.cli_fakes import FakeServices, call, digest

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.names import Digest

Capture = pytest.CaptureFixture[str]


@dataclass
class Moving(FakeServices):
    """Remembers what was to be moved."""

    moved: list[tuple[Any, ...]] = field(default_factory=list)

    def push(self, image: str, names: Any, *, compression: str, insecure: Any, ca_certs: Any, reporter: Any) -> Digest:
        self.moved.append(("push", image, tuple(names), compression, tuple(insecure)))
        return digest("3")

    def pull(self, name: str, *, insecure: Any, ca_certs: Any, docker_host: str, reporter: Any) -> Digest:
        self.moved.append(("pull", name, tuple(insecure), docker_host))
        return digest("3")

    def load(self, image: str, names: Any, *, docker_host: str, reporter: Any) -> Digest:
        self.moved.append(("load", image, tuple(names), docker_host))
        return digest("3")

    def save(self, image: str, output: str, name: str, *, reporter: Any) -> Digest:
        self.moved.append(("save", image, output, name))
        return digest("3")


def test_an_image_is_pushed_under_its_own_name_or_others(capsys: Capture) -> None:
    fake = Moving()
    assert call("push", "reg.example.com/shop:1", fake=fake) == 0
    assert capsys.readouterr().out == f"reg.example.com/shop:1@{digest('3')}\n"
    words = "push shop reg.example.com/a reg.example.com/b:2 --compression zstd --insecure-registry reg.example.com"
    assert call(*words.split(), fake=fake) == 0
    assert fake.moved == [
        ("push", "reg.example.com/shop:1", ("reg.example.com/shop:1",), "gzip", ()),
        ("push", "shop", ("reg.example.com/a", "reg.example.com/b:2"), "zstd", ("reg.example.com",)),
    ]
    out, err = capsys.readouterr()
    assert out == f"reg.example.com/a@{digest('3')}\nreg.example.com/b:2@{digest('3')}\n"
    assert "Pushed in" in err


@pytest.mark.cnb("RES-06")
def test_names_of_a_push_are_on_one_registry(capsys: Capture) -> None:
    assert call("push", "shop", "a.example.com/x", "b.example.com/x", fake=Moving()) == 2
    assert "error[tags]" in capsys.readouterr().err


def test_what_build_printed_can_be_pushed(capsys: Capture) -> None:
    fake = Moving()
    assert call("push", f"reg.example.com/shop@{digest('4')}", fake=fake) == 0
    assert fake.moved[0][1:3] == (digest("4"), ("reg.example.com/shop",))


@pytest.mark.parametrize("text", ["oci:dir", "docker:shop", digest("4")])
def test_what_has_no_name_needs_one(text: str, capsys: Capture) -> None:
    assert call("push", text, fake=Moving()) == 2
    assert "error[name]" in capsys.readouterr().err
    assert call("load", text, "shop", fake=Moving()) == 0


def test_pull_and_load_say_which_engine(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Moving()
    monkeypatch.setenv("PACKRUNNER_INSECURE_REGISTRY", "a:5000,b:5000")
    assert call("pull", "docker:shop", "--docker-host", "tcp://x", fake=fake) == 0
    assert call("load", "shop", fake=fake) == 0
    assert fake.moved == [("pull", "docker:shop", ("a:5000", "b:5000"), "tcp://x"), ("load", "shop", ("shop",), "")]
    assert capsys.readouterr().out == f"shop@{digest('3')}\n" * 2
    assert call("pull", "Not a name", fake=fake) == 2


@pytest.mark.parametrize(
    ("place", "locator"),
    [("x.tar", "docker-archive:{}/x.tar"), ("oci:out", "oci:{}/out"), ("oci-archive:/y.tar", "oci-archive:/y.tar")],
)
def test_a_file_is_an_archive_for_docker(
    place: str, locator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake = Moving()
    assert call("save", "shop:1", "-o", place, fake=fake) == 0
    assert fake.moved == [("save", "shop:1", locator.format(tmp_path), "shop:1")]


def test_what_is_not_here_is_not_sent(capsys: Capture) -> None:
    for words in (("push", "nope", "reg.example.com/a"), ("load", "nope"), ("save", "nope", "-o", "nope.tar")):
        assert main(words) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "error[unknown-image]: there is no image nope" in told
        assert "packrunner pull nope" in told
        assert "--pull-policy" not in told


def test_rebase_here_knows_no_registries(capsys: Capture) -> None:
    assert main(("rebase", "shop", "--insecure-registry", "reg.example.com")) == 2
    assert "packrunner rebase --push shop" in capsys.readouterr().err
