"""The samples for Tilt: one application each, and whatever the members of a team build it with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import starlark
import yaml

from packrunner.dev.covering import Project
from packrunner.dev.writers import write
from packrunner.formats.sync import Rule, SyncRules
from tests.tiltfile import Tilt

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES = Path(__file__).parents[3] / "samples"
RULES = SyncRules(
    rules=(Rule(src=("go.mod", "requirements.txt"), action="rebuild"), Rule(src=("**",), action="restart"))
)
CASES = (("tilt-flask", "shop", "flask"), ("tilt-go", "hello", "go"))


def rules(words: Sequence[str]) -> str:
    return write("tilt", RULES, Project(image="shop", development="shop:dev", path="/nowhere"))


def told(sample: str, **settings: str) -> tuple[Tilt, dict[str, Any]]:
    directory = SAMPLES / sample
    tilt = Tilt(directory, local=rules, settings=settings)
    tilt.run((directory / "Tiltfile").read_text())
    (image,) = tilt.images
    return tilt, image


@pytest.mark.parametrize(("sample", "name", "app"), CASES)
@pytest.mark.parametrize("settings", [{}, {"builder": "packrunner"}, {"builder": "packrunner", "on": "compose"}])
def test_with_packrunner_it_is_one_line(sample: str, name: str, app: str, settings: dict[str, str]) -> None:
    tilt, image = told(sample, **settings)
    assert image["ref"] == name
    assert image["deps"] == [str(SAMPLES / app)]
    assert [step["step"] for step in image["live_update"]] == ["fall_back_on", "sync", "run"]
    lines = (SAMPLES / sample / "Tiltfile").read_text().splitlines()
    assert len([line for line in lines if line.strip().startswith("packrunner(")]) == 1
    assert tilt.files == [str(SAMPLES / sample / ("compose.yaml" if settings.get("on") else "kubernetes.yaml"))]


@pytest.mark.parametrize(("sample", "name", "app"), CASES)
def test_others_of_the_team_build_the_same_application_otherwise(sample: str, name: str, app: str) -> None:
    tilt, image = told(sample, builder="docker_build")
    assert (image["ref"], image["context"]) == (name, str(SAMPLES / app))
    assert Path(image["dockerfile"]).is_file()
    assert tilt.commands == []
    _, image = told(sample, builder="pack")
    assert (image["ref"], image["deps"]) == (name, [str(SAMPLES / app)])
    assert image["command"].endswith(f"docker tag {name}:tilt-pack $EXPECTED_REF")


@pytest.mark.parametrize(("sample", "name", "app"), CASES)
def test_another_word_is_refused(sample: str, name: str, app: str) -> None:
    with pytest.raises(starlark.StarlarkError, match="builder is packrunner, pack or docker_build, not make"):
        told(sample, builder="make")


@pytest.mark.parametrize(("sample", "name", "app"), CASES)
def test_the_image_is_the_one_that_is_deployed(sample: str, name: str, app: str) -> None:
    deployment = yaml.safe_load((SAMPLES / sample / "kubernetes.yaml").read_text())
    assert [one["image"] for one in deployment["spec"]["template"]["spec"]["containers"]] == [name]
    assert deployment["metadata"]["name"] == name
    services = yaml.safe_load((SAMPLES / sample / "compose.yaml").read_text())["services"]
    assert {key: one["image"] for key, one in services.items()} == {name: name}
