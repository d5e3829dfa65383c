"""The generate phase over a sandbox whose programs are Python functions: what extensions write, and what it decides."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.catalog.stage import StagedBuildpack
from packrunner.errors import ExtensionFailedError, GenerateError
from packrunner.events import Warned
from packrunner.formats.analyzed import Analyzed, AnalyzedRunImage, AnalyzedTarget
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo
from packrunner.formats.group import GroupMember
from packrunner.formats.plan import Entry, Plan, Provider, Require
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle.generate import GenerateInputs, GenerateResult, analyzed_after, generate
from tests.fakes import Call, FakeReporter, FakeSandbox, Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAME = "ARG base_image\nFROM ${base_image}\n"


@dataclass
class World:
    """Extensions by name: a program, or files of a static `generate/` directory."""

    place: Path
    extensions: Mapping[str, Program | Mapping[str, str]]
    plan: Plan = field(default_factory=Plan)
    sandbox: FakeSandbox = field(init=False)
    reporter: FakeReporter = field(default_factory=FakeReporter)

    def __post_init__(self) -> None:
        for name in ("layers", "plans"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        programs: dict[str, Program] = {}
        for name, what in self.extensions.items():
            (self.tree(name) / "bin").mkdir(parents=True, exist_ok=True)
            if callable(what):
                (self.tree(name) / "bin" / "generate").write_text("#!/bin/sh\n")
                programs[f"/cnb/extensions/acme_{name}/1.0.0/bin/generate"] = what
            else:
                for path, text in what.items():
                    target = self.tree(name) / "generate" / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text)
        mounts = {"/layers": str(self.place / "layers"), "/cnb/plans": str(self.place / "plans")}
        self.sandbox = FakeSandbox(programs=programs, mounts=mounts)

    def tree(self, name: str) -> Path:
        return self.place / "staged" / name

    def staged(self, name: str) -> StagedBuildpack:
        descriptor = BuildpackDescriptor(api="0.12", buildpack=BuildpackInfo(id=f"acme/{name}", version="1.0.0"))
        return StagedBuildpack(
            id=f"acme/{name}",
            version="1.0.0",
            digest="sha256:" + "0" * 64,
            path=str(self.tree(name)),
            source="",
            descriptor=descriptor,
            short=name,
            kind="extension",
        )

    def generate(self, **how: Any) -> GenerateResult:
        facts: dict[str, Any] = {
            "plan": self.plan,
            "image_env": {"PATH": "/bin"},
            "home": "/home/cnb",
            "target": RunTarget("linux", "amd64", "", "debian", "13"),
            "run_image": "run:default",
        }
        inputs = GenerateInputs(
            generated=str(self.place / "layers" / "generated"),
            plans=str(self.place / "plans"),
            owner=None,
            extensions=tuple(GroupMember(id=f"acme/{n}", version="1.0.0", api="0.12") for n in self.extensions),
            staged={(f"acme/{n}", "1.0.0"): self.staged(n) for n in self.extensions},
            **facts | how,
        )
        return generate(inputs, sandbox=self.sandbox, reporter=self.reporter)

    @property
    def files(self) -> list[str]:
        root = self.place / "layers" / "generated"
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.reporter.of(Warned)]


def writes(**files: str) -> Program:
    """A bin/generate that writes files: `run_Dockerfile` is run.Dockerfile."""

    def run(call: Call) -> None:
        for name, text in files.items():
            call.write(name.replace("_Dockerfile", ".Dockerfile").replace("__", "/"), text)

    return run


@pytest.mark.cnb("EXT-03", "TGT-08")
def test_how_bin_generate_is_called(tmp_path: Path) -> None:
    plan = Plan(
        entries=(
            Entry(
                providers=(Provider(id="acme/a", version="1.0.0", extension=True),),
                requires=(Require(name="tool", metadata={"version": "2"}),),
            ),
        )
    )
    seen: list[str] = []
    world = World(tmp_path, {"a": lambda call: seen.append(call.read(call.args[2]))}, plan)
    world.generate(platform_env={"BAR": "2"}, exec_env="test")
    (command,) = world.sandbox.commands
    assert command.argv[1:] == (
        "/layers/generated/acme_a",
        "/platform",
        "/cnb/plans/generate/acme_a/plan.toml",
    )
    assert command.cwd == "/workspace"
    assert command.env == {
        "PATH": "/bin",
        "HOME": "/home/cnb",
        "BAR": "2",
        "CNB_EXTENSION_DIR": "/cnb/extensions/acme_a/1.0.0",
        "CNB_OUTPUT_DIR": "/layers/generated/acme_a",
        "CNB_PLATFORM_DIR": "/platform",
        "CNB_BP_PLAN_PATH": "/cnb/plans/generate/acme_a/plan.toml",
        "CNB_TARGET_OS": "linux",
        "CNB_TARGET_ARCH": "amd64",
        "CNB_TARGET_DISTRO_NAME": "debian",
        "CNB_TARGET_DISTRO_VERSION": "13",
        "CNB_EXEC_ENV": "test",
    }
    assert 'name = "tool"' in seen[0]


@pytest.mark.cnb("EXT-05")
def test_programs_run_in_the_groups_order_and_static_output_counts_like_theirs(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        {"a": writes(), "b": {"build.Dockerfile": SAME + "RUN b", "context/x": "1"}, "c": writes(run_Dockerfile=SAME)},
    )
    result = world.generate()
    assert [c.argv[0].split("/")[3] for c in world.sandbox.commands] == ["acme_a", "acme_c"]
    assert [(d.extension.id, d.kind) for d in result.dockerfiles] == [("acme/b", "build"), ("acme/c", "run")]
    assert world.files == ["acme_b/build.Dockerfile", "acme_b/context/x", "acme_c/run.Dockerfile"]


@pytest.mark.cnb("EXT-05", "EXC-02")
def test_a_program_that_fails_ends_with_91_and_its_words(tmp_path: Path) -> None:
    def fails(call: Call) -> int:
        call.say("no network\n")
        return 7

    world = World(tmp_path, {"a": fails, "b": writes()})
    with pytest.raises(ExtensionFailedError, match=r"a 1\.0\.0 ended with exit code 7") as caught:
        world.generate()
    assert caught.value.exit_code == 91
    assert caught.value.foreign == ("no network",)
    assert len(world.sandbox.commands) == 1


@pytest.mark.cnb("EXT-05", "EXC-02")
@pytest.mark.parametrize(
    ("files", "slug"),
    [
        ({"run_Dockerfile": "FLY\n"}, "dockerfile"),
        ({"build_Dockerfile": "FROM x\n"}, "dockerfile"),
        ({"extend-config.toml": "[[run.args]]\nname = 'user_id'\nvalue = '0'\n"}, "extend-config"),
        ({"extend-config.toml": "[[run.args]]\nname = 1\n"}, "toml"),
        ({"context": "a file"}, "extend-context"),
        ({"context__a": "1", "context.run__a": "1"}, "extend-context"),
    ],
)
def test_output_that_cannot_be_right_ends_with_92(tmp_path: Path, files: dict[str, str], slug: str) -> None:
    with pytest.raises(GenerateError) as caught:
        World(tmp_path, {"a": writes(**files)}).generate()
    assert (caught.value.exit_code, caught.value.slug) == (92, slug)


@pytest.mark.cnb("EXT-05")
@pytest.mark.fault("SBX-01", "SBX-07")
@pytest.mark.parametrize("name", ["run.Dockerfile", "build.Dockerfile", "extend-config.toml", "context"])
@pytest.mark.parametrize("how", ["link", "fifo"])
def test_what_is_no_plain_file_is_refused_and_nothing_of_it_read(tmp_path: Path, name: str, how: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("FROM the-secret\n")

    def plants(call: Call) -> None:
        path = call.write(name)
        os.unlink(path)
        if how == "fifo":
            os.mkfifo(path)
        else:
            os.symlink(secret, path)

    with pytest.raises(GenerateError) as caught:
        World(tmp_path, {"a": plants}).generate()
    assert "the-secret" not in str(vars(caught.value))


@pytest.mark.fault("SBX-04", "SBX-09")
def test_a_link_that_a_buildpack_left_where_output_goes_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    world = World(tmp_path, {"a": writes(run_Dockerfile=SAME)})
    (tmp_path / "layers" / "generated").symlink_to(outside)
    world.generate()
    assert list(outside.iterdir()) == []
    assert world.files == ["acme_a/run.Dockerfile"]


@pytest.mark.cnb("EXT-06")
@pytest.mark.parametrize(
    ("platform_api", "tree"),
    [
        (
            "0.13",
            ["acme_a/build.Dockerfile", "acme_a/context/x", "acme_a/extend-config.toml", "acme_a/run.Dockerfile"],
        ),
        (
            "0.12",
            [
                "build/acme_a/Dockerfile",
                "build/acme_a/extend-config.toml",
                "run/acme_a/Dockerfile",
                "run/acme_a/extend-config.toml",
            ],
        ),
    ],
)
def test_the_output_tree_of_each_platform_api(tmp_path: Path, platform_api: str, tree: list[str]) -> None:
    files = {
        "run_Dockerfile": SAME,
        "build_Dockerfile": SAME,
        "extend-config.toml": "[[run.args]]\nname = 'a'\nvalue = 'b'\n",
        "context__x": "1",
    }
    world = World(tmp_path, {"a": writes(**files)})
    world.generate(platform_api=platform_api)
    assert world.files == tree


@pytest.mark.cnb("EXT-07")
def test_instructions_that_are_not_recommended_are_warned_about(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": writes(run_Dockerfile=SAME + "EXPOSE 80\n")})
    world.generate()
    assert world.warnings == ["acme_a/run.Dockerfile:3: EXPOSE is not an instruction for extensions"]


@pytest.mark.cnb("EXT-08")
def test_the_last_switch_decides_and_files_before_it_are_ignored(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        {
            "a": writes(run_Dockerfile=SAME + "RUN a", build_Dockerfile=SAME + "RUN a"),
            "b": writes(run_Dockerfile="FROM run:b\nRUN b"),
            "c": writes(run_Dockerfile="FROM run:c"),
            "d": writes(run_Dockerfile=SAME + "RUN d"),
        },
    )
    result = world.generate(run_images=frozenset({"run:default", "run:b"}))
    assert result.run_image == "run:c"
    assert world.files == [
        "acme_a/build.Dockerfile",
        "acme_a/run.Dockerfile.ignore",
        "acme_b/run.Dockerfile.ignore",
        "acme_c/run.Dockerfile",
        "acme_d/run.Dockerfile",
    ]
    assert [d.extension.id for d in result.of("run")] == ["acme/d"]
    assert [d.extension.id for d in result.of("build")] == ["acme/a"]
    assert world.warnings == ["an extension chooses the run image run:c, which is none of the builder's"]


@pytest.mark.cnb("EXT-08")
def test_a_known_image_is_chosen_without_a_word_and_the_same_one_is_no_choice(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": writes(run_Dockerfile="FROM run:b")})
    assert world.generate(run_images=frozenset({"run:b"})).run_image == "run:b"
    assert world.warnings == []
    assert world.generate(run_image="run:b").run_image == ""
    assert world.generate(run_image="run:b", platform_api="0.11").run_image == "run:b"


@pytest.mark.cnb("EXT-09")
@pytest.mark.parametrize(
    ("files", "extends"),
    [
        (("FROM run:b",), False),
        (("FROM run:b\nRUN x",), True),
        ((SAME,), False),
        ((SAME + "RUN x",), True),
        ((SAME + "RUN x", "FROM run:b"), False),
        (("FROM run:b", SAME + "RUN x"), True),
    ],
)
def test_when_the_run_image_is_extended(tmp_path: Path, files: tuple[str, ...], *, extends: bool) -> None:
    world = World(tmp_path, {f"e{i}": writes(run_Dockerfile=text) for i, text in enumerate(files)})
    assert world.generate().extend_run is extends


@pytest.mark.cnb("EXT-10")
def test_what_extensions_provide_is_met_and_leaves_the_plan(tmp_path: Path) -> None:
    def entry(name: str, *providers: Provider) -> Entry:
        return Entry(providers=providers, requires=(Require(name=name),))

    mine = Provider(id="acme/a", version="1.0.0", extension=True)
    theirs = Provider(id="acme/buildpack", version="1.0.0")
    plan = Plan(entries=(entry("x", mine), entry("y", theirs), entry("z", mine, theirs)))
    result = World(tmp_path, {"a": writes()}, plan).generate()
    assert [e.requires[0].name for e in result.plan.entries] == ["y"]


@pytest.mark.cnb("EXT-12")
@pytest.mark.parametrize(
    ("files", "build", "run"),
    [
        ({}, "", ""),
        ({"context__x": "1"}, "context", "context"),
        ({"context.run__x": "1"}, "", "context.run"),
        ({"context.run__x": "1", "context.build__x": "1"}, "context.build", "context.run"),
    ],
)
def test_which_context_each_dockerfile_gets(tmp_path: Path, files: dict[str, str], build: str, run: str) -> None:
    world = World(tmp_path, {"a": writes(run_Dockerfile=SAME, build_Dockerfile=SAME, **files)})
    found = {d.kind: d.context and os.path.basename(d.context) for d in world.generate().dockerfiles}
    assert found == {"build": build, "run": run}


@pytest.mark.cnb("EXT-11")
def test_arguments_of_the_extension_go_to_their_kind(tmp_path: Path) -> None:
    config = "[[build.args]]\nname='a'\nvalue='1'\n[[run.args]]\nname='flavour'\nvalue='static'\n"
    files = {"run_Dockerfile": "ARG flavour\nFROM run:${flavour}", "build_Dockerfile": SAME}
    world = World(tmp_path, {"a": writes(**files, **{"extend-config.toml": config})})
    result = world.generate()
    assert {d.kind: [(a.name, a.value) for a in d.args] for d in result.dockerfiles} == {
        "build": [("a", "1")],
        "run": [("flavour", "static")],
    }
    assert result.run_image == "run:static"


@pytest.mark.cnb("EXT-08", "EXT-09")
def test_analyzed_toml_names_the_chosen_image_and_forgets_the_target(tmp_path: Path) -> None:
    target = AnalyzedTarget(os="linux", arch="amd64")
    before = Analyzed(run_image=AnalyzedRunImage(reference="run:default@sha256:1", image="run:default", target=target))
    switched = World(tmp_path / "1", {"a": writes(run_Dockerfile="FROM run:b\nRUN x")}).generate()
    assert analyzed_after(before, switched).run_image == AnalyzedRunImage(reference="run:b", image="run:b", extend=True)
    extended = World(tmp_path / "2", {"a": writes(run_Dockerfile=SAME + "RUN x")}).generate()
    after = analyzed_after(before, extended).run_image
    assert after == AnalyzedRunImage(reference="run:default@sha256:1", image="run:default", target=target, extend=True)
