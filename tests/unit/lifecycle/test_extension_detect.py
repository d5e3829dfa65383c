"""Extensions in the detect phase: without programs, providing only, in front of each group, left out if not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from packrunner.catalog.stage import StagedBuildpack
from packrunner.errors import BuildpackApiError, DetectErroredError, DetectNoneError, UsageError
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, GroupRef, OrderGroup, Target
from packrunner.formats.group import Order
from packrunner.lifecycle.detect import DetectInputs, DetectResult, detect
from tests.fakes import Call, FakeReporter, FakeSandbox, Program

if TYPE_CHECKING:
    from pathlib import Path

AMD = ("linux", "amd64", "", "debian", "13")


class World:
    """Buildpacks and extensions by name, each with a plan; None for an extension without bin/detect."""

    def __init__(self, place: Path, buildpacks: dict[str, str], extensions: dict[str, str | None], **how: Any) -> None:
        self.place = place
        (place / "plans").mkdir(parents=True)
        programs: dict[str, Program] = {}
        for kind, known in (("buildpacks", buildpacks), ("extensions", extensions)):
            for name, plan in known.items():
                tree = place / name
                (tree / "bin").mkdir(parents=True)
                if plan is not None:
                    (tree / "bin" / "detect").write_text("")
                    programs[f"/cnb/{kind}/acme_{name}/1.0.0/bin/detect"] = self.program(plan)
        self.sandbox = FakeSandbox(programs=programs, mounts={"/cnb/plans": str(place / "plans")})
        self.buildpacks = {(f"acme/{n}", "1.0.0"): self.staged(n) for n in buildpacks}
        self.extensions = {(f"acme/{n}", "1.0.0"): self.staged(n, **how) for n in extensions}

    @staticmethod
    def program(plan: str) -> Program:
        def run(call: Call) -> None:
            with open(call.host(call.args[1]), "w") as file:
                file.write(plan)

        return run

    def staged(self, name: str, **how: Any) -> StagedBuildpack:
        info = BuildpackInfo(id=f"acme/{name}", version="1.0.0")
        return StagedBuildpack(
            id=f"acme/{name}",
            version="1.0.0",
            digest="",
            path=str(self.place / name),
            source="",
            descriptor=BuildpackDescriptor(api=how.pop("api", "0.12"), buildpack=info, **how),
            short=name,
        )

    def detect(self, *groups: str, extensions: str = "") -> DetectResult:
        def order(text: str) -> OrderGroup:
            return OrderGroup(group=tuple(GroupRef(id=f"acme/{w}") for w in text.split()))

        inputs = DetectInputs(
            order=Order(
                order=tuple(order(g) for g in groups), order_extensions=(order(extensions),) if extensions else ()
            ),
            buildpacks=self.buildpacks,
            extensions=self.extensions,
            plans_dir=str(self.place / "plans"),
            target=AMD,
        )
        return detect(inputs, sandbox=self.sandbox, reporter=FakeReporter())


def names(members: tuple[Any, ...]) -> str:
    return " ".join(m.id.removeprefix("acme/") for m in members)


REQUIRES = '[[requires]]\nname = "tool"\n'
PROVIDES = '[[provides]]\nname = "tool"\n'


@pytest.mark.cnb("EXT-01")
def test_an_extension_without_bin_detect_passes_with_the_plan_that_lies_in_it(tmp_path: Path) -> None:
    world = World(tmp_path, {"b": REQUIRES}, {"e": None})
    (tmp_path / "e" / "detect").mkdir()
    (tmp_path / "e" / "detect" / "plan.toml").write_text(PROVIDES)
    result = world.detect("b", extensions="e")
    assert (names(result.extensions), names(result.group)) == ("e", "b")
    assert len(world.sandbox.commands) == 1


@pytest.mark.cnb("EXT-01")
def test_without_a_plan_it_passes_too(tmp_path: Path) -> None:
    result = World(tmp_path, {"b": ""}, {"e": None}).detect("b", extensions="e")
    assert names(result.extensions) == "e"


@pytest.mark.cnb("EXT-01", "TGT-06")
def test_an_extension_for_another_target_takes_no_part(tmp_path: Path) -> None:
    other = (Target(os="linux", arch="arm64"),)
    for plan in (None, ""):
        result = World(tmp_path / repr(plan), {"b": ""}, {"e": plan}, targets=other).detect("b", extensions="e")
        assert names(result.extensions) == ""


@pytest.mark.cnb("EXT-02", "DET-15")
@pytest.mark.parametrize("where", ["", "[[or]]\n"])
def test_an_extension_that_requires_anything_errs(tmp_path: Path, where: str) -> None:
    own = PROVIDES + ('[[or]]\n[[or.requires]]\nname = "x"\n' if where else '[[requires]]\nname = "tool"\n')
    with pytest.raises(DetectErroredError) as caught:
        World(tmp_path, {"b": REQUIRES}, {"e": own}).detect("b", extensions="e")
    assert caught.value.exit_code == 21


@pytest.mark.cnb("EXT-03")
def test_what_bin_detect_of_an_extension_sees(tmp_path: Path) -> None:
    world = World(tmp_path, {"b": REQUIRES}, {"e": PROVIDES})
    world.detect("b", extensions="e")
    (command,) = [c for c in world.sandbox.commands if "extensions" in c.argv[0]]
    assert command.env["CNB_EXTENSION_DIR"] == "/cnb/extensions/acme_e/1.0.0"
    assert "CNB_BUILDPACK_DIR" not in command.env


@pytest.mark.cnb("EXT-04", "DET-24")
def test_an_extension_whose_provides_nobody_requires_is_left_out(tmp_path: Path) -> None:
    world = World(tmp_path, {"b": ""}, {"e": PROVIDES, "f": ""})
    result = world.detect("b", extensions="e f")
    assert (names(result.extensions), names(result.group)) == ("f", "b")
    assert not any(p.id == "acme/e" for entry in result.plan.entries for p in entry.providers)


@pytest.mark.cnb("DET-25", "EXT-10")
def test_the_plan_marks_providers_that_are_extensions(tmp_path: Path) -> None:
    (entry,) = World(tmp_path, {"b": REQUIRES + PROVIDES}, {"e": PROVIDES}).detect("b", extensions="e").plan.entries
    assert [(p.id, p.extension) for p in entry.providers] == [("acme/e", True), ("acme/b", False)]


@pytest.mark.cnb("BPD-12", "DET-13", "DET-14")
def test_extensions_come_before_every_group_and_are_optional(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": '[[requires]]\nname = "other"\n', "b": REQUIRES}, {"e": PROVIDES})
    result = world.detect("a", "b", extensions="e")
    tried = [" ".join(m.short for m in group.members) for group in result.outcomes]
    # The group without extensions is tried after that with them.
    assert tried == ["e a", "a", "e b"]
    ran = [c.argv[0].split("/")[3] for c in world.sandbox.commands]
    assert sorted(ran) == ["acme_a", "acme_b", "acme_e"]


@pytest.mark.cnb("DET-14", "EXT-04")
def test_extensions_alone_are_no_group(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": '[[provides]]\nname = "x"\n'}, {"e": ""})
    with pytest.raises(DetectNoneError):
        world.detect("a", extensions="e")


@pytest.mark.cnb("BPD-12", "BPD-02", "EXT-01")
def test_what_cannot_be_an_extension_is_refused_before_anything_runs(tmp_path: Path) -> None:
    inner = (OrderGroup(group=(GroupRef(id="acme/e"),)),)
    nested = World(tmp_path / "1", {"b": ""}, {"e": ""}, order=inner)
    with pytest.raises(UsageError) as caught:
        nested.detect("b", extensions="e")
    assert caught.value.slug == "extension-order"
    old = World(tmp_path / "2", {"b": ""}, {"e": ""}, api="0.99")
    with pytest.raises(BuildpackApiError):
        old.detect("b", extensions="e")
    assert not nested.sandbox.commands
    assert not old.sandbox.commands
