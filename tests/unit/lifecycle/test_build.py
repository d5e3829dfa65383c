"""bin/build, one after another, and the reading of what each left."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packrunner.engines.base import Exit
from packrunner.errors import BuildError, BuildpackFailedError, PackrunnerError, UnsafeArchiveError
from packrunner.events import LayerReported, Output, StepDone, StepStarted, Warned
from packrunner.formats.plan import Entry, Plan, Provider, Require
from tests.cycle import World, writes
from tests.fakes import Call, Program

SECRET = "the host's secret"


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/FOO").write_text(SECRET)
    return World(root=tmp_path)


def nothing(call: Call) -> None:
    pass


CDX = ("application/vnd.cyclonedx+json",)
LAUNCH = "[types]\nlaunch = true\n"
BUILD = "[types]\nbuild = true\n"


@pytest.mark.cnb("BLD-01")
def test_each_member_runs_once_in_order_in_the_application(world: World) -> None:
    for name in "abc":
        world.add(name, nothing)
    world.layers("sbom/launch").mkdir(parents=True)
    (world.root / "layers/sbom/launch/stale").write_text("x")
    world.build()
    assert [c.argv[0].split("/")[3] for c in world.sandbox.commands] == ["acme_a", "acme_b", "acme_c"]
    assert {c.cwd for c in world.sandbox.commands} == {"/workspace"}
    assert not world.layers("sbom").exists()


@pytest.mark.cnb("BLD-02")
@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("0.7", {"CNB_BUILDPACK_DIR"}),
        ("0.8", {"CNB_BUILDPACK_DIR", "CNB_LAYERS_DIR", "CNB_PLATFORM_DIR", "CNB_BP_PLAN_PATH"}),
        ("0.9", {"CNB_BUILDPACK_DIR", "CNB_LAYERS_DIR", "CNB_PLATFORM_DIR", "CNB_BP_PLAN_PATH"}),
        ("0.10", {"CNB_TARGET_OS", "CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION"}),
        ("0.11", {"CNB_TARGET_OS", "CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION"}),
        ("0.12", {"CNB_TARGET_OS", "CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_EXEC_ENV"}),
    ],
)
def test_arguments_and_variables(world: World, api: str, expected: set[str]) -> None:
    world.add("a", nothing, api=api)
    world.build()
    (command,) = world.sandbox.commands
    plan = "/cnb/plans/build/acme_a/plan.toml"
    assert command.argv == ("/cnb/buildpacks/acme_a/1.2.3/bin/build", "/layers/acme_a", "/platform", plan)
    set_here = {name for name in command.env if name.startswith("CNB_")}
    assert expected <= set_here
    if api == "0.7":
        assert set_here == expected
    assert ("CNB_EXEC_ENV" in set_here) is (api == "0.12")
    if api in {"0.8", "0.9"}:
        assert command.env["CNB_LAYERS_DIR"] == "/layers/acme_a"
        assert command.env["CNB_BP_PLAN_PATH"] == plan
        assert not any(name.startswith("CNB_TARGET") for name in set_here)
    assert command.env["HOME"] == "/home/cnb"
    assert "LANG" not in command.env


@pytest.mark.cnb("DET-08")
@pytest.mark.cnb("BLD-21")
def test_users_values_reach_the_program_unless_it_wants_none(world: World) -> None:
    world.add("a", nothing)
    world.add("b", nothing, clear_env=True)
    world.build(platform_env={"FOO": "user", "CNB_BUILDPACK_DIR": "/x"})
    a, b = world.sandbox.commands
    assert a.env["FOO"] == "user"
    assert a.env["CNB_BUILDPACK_DIR"] == "/cnb/buildpacks/acme_a/1.2.3"
    assert "FOO" not in b.env


@pytest.mark.cnb("BLD-03")
@pytest.mark.cnb("BLD-04")
def test_a_name_is_met_unless_build_toml_says_otherwise(world: World) -> None:
    seen: list[list[dict[str, Any]]] = []

    def reads(unmet: str = "") -> Program:
        def program(call: Call) -> None:
            seen.append(tomllib.loads(call.read(call.args[2])).get("entries", []))
            assert os.access(call.host(call.args[0]), os.W_OK)
            if unmet:
                call.write("build.toml", f'[[unmet]]\nname = "{unmet}"')

        return program

    a = world.add("a", reads(unmet="y"))
    b = world.add("b", reads())
    c = world.add("c", reads())
    both = tuple(Provider(id=m.id, version=m.version) for m in (a, b))
    world.plan = Plan(
        entries=(
            Entry(providers=both, requires=(Require(name="x", metadata={"v": 1}), Require(name="x"))),
            Entry(providers=both, requires=(Require(name="y"),)),
            Entry(providers=(Provider(id=c.id, version=c.version),), requires=(Require(name="z"),)),
        )
    )
    world.build()
    assert seen == [
        [{"name": "x", "metadata": {"v": 1}}, {"name": "x", "metadata": {}}, {"name": "y", "metadata": {}}],
        [{"name": "y", "metadata": {}}],
        [{"name": "z", "metadata": {}}],
    ]


@pytest.mark.cnb("BLD-05")
@pytest.mark.parametrize("name", ["", "never-given"])
def test_an_unmet_name_must_have_been_given(world: World, name: str) -> None:
    world.add("a", writes({"build.toml": f'[[unmet]]\nname = "{name}"'}))
    with pytest.raises(BuildError) as caught:
        world.build()
    assert (caught.value.slug, caught.value.exit_code) == ("unmet", 52)


@pytest.mark.cnb("BLD-06")
def test_a_failing_program_ends_the_build(world: World) -> None:
    def fails(call: Call) -> int:
        call.say("".join(f"line {n}\n" for n in range(30)) + "\n\n")
        return 3

    world.add("a", fails)
    world.add("b", nothing)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    error = caught.value
    assert (error.slug, error.exit_code, error.brief) == ("buildpack-failed", 51, "a 1.2.3 ended with exit code 3")
    assert error.foreign == tuple(f"line {n}" for n in range(10, 30))
    assert (error.at, error.tries) == (None, ())
    assert len(world.sandbox.commands) == 1
    assert world.sandbox.sweeps == 1


@pytest.mark.parametrize(
    ("ended", "brief", "cause"),
    [
        (Exit(code=143, signal=15), "a 1.2.3 was ended by SIGTERM", None),
        (Exit(code=127, error="no such file"), "a 1.2.3 could not be started", "no such file"),
        (Exit(code=0, error="lost"), "a 1.2.3 could not be started", "lost"),
        (Exit(code=124, timed_out=True), "a 1.2.3 took too long", None),
    ],
)
def test_how_a_program_ended_is_said(world: World, ended: Exit, brief: str, cause: str | None) -> None:
    world.add("a", lambda _: ended)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    assert (caught.value.brief, caught.value.cause) == (brief, cause)


@pytest.mark.fault("SBX-35")
@pytest.mark.parametrize(
    ("ended", "said", "limit"),
    [
        (Exit(code=254), "bash: fork: retry: Resource temporarily unavailable", "processes and threads"),
        (Exit(code=1), "RuntimeError: can't start new thread", "processes and threads"),
        (Exit(code=1), "OSError: [Errno 28] No space left on device: '/tmp/x'", "a disk is full"),
        (Exit(code=1), "OSError: [Errno 24] Too many open files: 'x'", "ulimit -n"),
        (Exit(code=1), "MemoryError", "memory ran out"),
        (Exit(code=137, signal=9), "", "the kernel, when memory runs out"),
    ],
)
def test_the_limit_that_a_program_ran_into_is_named(world: World, ended: Exit, said: str, limit: str) -> None:
    def fails(call: Call) -> Exit:
        call.say(said)
        return ended

    world.add("a", fails)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    assert limit in str(caught.value.cause)


def test_a_buildpack_explains_its_failure(world: World) -> None:
    def fails(call: Call) -> int:
        call.write(
            ".packrunner/failure.toml",
            'brief = "could not install requirements.txt"\nat = "requirements.txt:2\\u001b[31m"\ntry = "correct it"\n',
        )
        return 1

    world.add("a", fails)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    assert caught.value.brief == "a 1.2.3 could not install requirements.txt"
    assert caught.value.at == "requirements.txt:2?[31m"
    assert caught.value.tries == ("correct it",)
    assert not world.layers("acme_a/.packrunner").exists()


@pytest.mark.fault("SBX-01")
@pytest.mark.parametrize("text", ["not = [toml", 'brief = ["no text"]', "x" * 100_000])
def test_an_explanation_that_cannot_be_read_hides_nothing(world: World, text: str) -> None:
    def fails(call: Call) -> int:
        call.write(".packrunner/failure.toml", text)
        call.say("why\n")
        return 1

    world.add("a", fails)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    assert caught.value.foreign == ("why",)


def test_output_is_passed_on_as_it_comes(world: World) -> None:
    def speaks(call: Call) -> None:
        call.say("one")
        call.output("stderr", b"\xff two")

    world.add("a", speaks)
    world.build()
    assert world.reporter.of(Output) == [
        Output(source="a", stream="stdout", data=b"one"),
        Output(source="a", stream="stderr", data=b"\xff two"),
    ]
    assert [e.subject for e in world.reporter.of(StepStarted)] == ["a 1.2.3"]


def test_reused_layers_share_the_steps_line(world: World) -> None:
    report = "".join(
        f'[[layers]]\nname = "{n}"\ndetail = "{d}"\n'
        for n, d in [("b", "reused (x unchanged)"), ("a", "reused (x unchanged)"), ("none", "new")]
    )
    world.add("p", _says(report, "a", "b"))
    result = world.build()
    (done,) = world.reporter.of(StepDone)
    assert done.detail == "a, b reused (x unchanged)"
    assert world.reporter.of(LayerReported) == []
    assert result.said == {("acme/p", "a"): "reused (x unchanged)", ("acme/p", "b"): "reused (x unchanged)"}


def test_new_layers_get_lines_of_their_own_with_their_size(world: World) -> None:
    report = 'step = "web: run"\n[[layers]]\nname = "a"\ndetail = "new: 2 packages"\n'
    report += '[[layers]]\nname = "b"\ndetail = "reused (same)"\n'
    world.add("p", _says(report, "a", "b"))
    world.build()
    (done,) = world.reporter.of(StepDone)
    assert done.detail == "web: run"
    assert world.reporter.of(LayerReported) == [
        LayerReported(name="a", detail="new: 2 packages", size=7),
        LayerReported(name="b", detail="reused (same)", size=None),
    ]
    assert not world.layers("acme_p/.packrunner").exists()
    assert not world.layers("acme_p/.packrunner.ignore").exists()


def _says(report: str, *layers: str) -> Program:
    def program(call: Call) -> None:
        call.write(".packrunner/report.toml", report)
        for name in layers:
            call.write(f"{name}.toml", LAUNCH)
            call.write(f"{name}/file", "content")

    return program


@pytest.mark.cnb("BLD-07")
def test_types_default_to_false_and_stand_in_their_table(world: World) -> None:
    world.add("a", writes({"x.toml": "", "y.toml": LAUNCH}))
    (output,) = world.build().outputs
    assert [(layer.name, layer.types.launch, layer.types.cache) for layer in output.layers] == [
        ("x", False, False),
        ("y", True, False),
    ]


@pytest.mark.cnb("BLD-07")
@pytest.mark.parametrize("text", ["launch = true", "build = false", "cache = 1", "[types]\nlaunch = 1", "x = ["])
def test_a_broken_layer_file_is_an_error(world: World, text: str) -> None:
    world.add("a", writes({"x.toml": text}))
    with pytest.raises(BuildError) as caught:
        world.build()
    assert caught.value.exit_code == 52


@pytest.mark.cnb("BLD-08")
def test_layers_without_a_type_are_out_of_the_way_before_the_next_program(world: World) -> None:
    seen: list[str] = []
    world.add("a", writes({"none.toml": "", "none/f": "", "bare/f": "", "kept.toml": LAUNCH, "kept/f": ""}))
    world.add("b", lambda call: seen.extend(os.listdir(call.host("/layers/acme_a"))))
    world.build()
    assert sorted(seen) == ["bare.ignore", "kept", "kept.toml", "none.ignore", "none.toml"]


@pytest.mark.cnb("BLD-09")
def test_the_three_files_are_no_layers(world: World) -> None:
    world.add("a", writes({"launch.toml": "", "build.toml": "", "store.toml": '[metadata]\nk = "v"', "launch/f": ""}))
    (output,) = world.build().outputs
    assert output.layers == ()
    assert output.store == {"k": "v"}


@pytest.mark.cnb("BLD-10")
@pytest.mark.cnb("BLD-12")
@pytest.mark.cnb("BLD-13")
@pytest.mark.parametrize(
    "text",
    [
        '[[processes]]\ntype = "web"\ncommand = "text"',
        '[[processes]]\ntype = "web"\ncommand = ["x"]\ndirect = true',
        '[[processes]]\ntype = "web"\ncommand = []',
        '[[processes]]\ntype = "a b"\ncommand = ["x"]',
        '[[processes]]\ntype = "a"\ncommand = ["x"]\n[[processes]]\ntype = "a"\ncommand = ["y"]',
        "".join(f'[[processes]]\ntype = "{t}"\ncommand = ["x"]\ndefault = true\n' for t in "ab"),
    ],
)
def test_broken_launch_files(world: World, text: str) -> None:
    world.add("a", writes({"launch.toml": text}))
    with pytest.raises(BuildError) as caught:
        world.build()
    assert caught.value.exit_code == 52


@pytest.mark.cnb("BLD-17")
@pytest.mark.cnb("BLD-18")
@pytest.mark.cnb("BLD-19")
def test_build_layers_reach_later_programs_only(world: World) -> None:
    def first(call: Call) -> None:
        for name in ("y", "z"):
            call.write(f"{name}.toml", BUILD)
            call.write(f"{name}/bin/tool")
        call.write("y/env/FOO", "env")
        call.write("y/env.build/FOO.append", "+build")
        call.write("y/env.launch/FOO", "launch")
        call.write("y/env/nested/BAR", "x")
        call.write("run.toml", LAUNCH)
        call.write("run/bin/tool")
        call.write("run/env/ONLY_LAUNCH", "x")

    world.add("a", first)
    world.add("b", nothing)
    world.build()
    a, b = world.sandbox.commands
    assert a.env["PATH"] == "/usr/bin"
    assert b.env["PATH"] == "/layers/acme_a/z/bin:/layers/acme_a/y/bin:/usr/bin"
    assert b.env["FOO"] == "env+build"
    assert not {"ONLY_LAUNCH", "BAR"} & set(b.env)


@pytest.mark.cnb("BLD-24")
def test_a_value_that_no_variable_can_hold_is_an_error(world: World) -> None:
    world.add("a", writes({"x.toml": BUILD, "x/env/FOO": "a\0b"}))
    with pytest.raises(BuildError) as caught:
        world.build()
    assert caught.value.slug == "env-file"


@pytest.mark.cnb("BLD-11")
@pytest.mark.parametrize(("api", "warned"), [("0.7", 1), ("0.8", 0)])
def test_a_working_directory_before_it_meant_anything_is_warned_about(world: World, api: str, warned: int) -> None:
    launch = '[[processes]]\ntype = "web"\ncommand = "run"\nworking-dir = "sub"\n'
    world.add("a", writes({"launch.toml": launch}), api=api)
    result = world.build()
    assert result.launch.processes[0].working_dir == ("" if warned else "sub")
    assert len(world.reporter.of(Warned)) == warned


@pytest.mark.cnb("STK-01")
def test_the_stacks_id_reaches_the_program_unchanged(world: World) -> None:
    world.add("a", nothing, api="0.7")
    world.build(image_env={"PATH": "/usr/bin", "CNB_STACK_ID": "io.buildpacks.stacks.bionic"})
    world.build()
    with_stack, without = world.sandbox.commands
    assert with_stack.env["CNB_STACK_ID"] == "io.buildpacks.stacks.bionic"
    assert "CNB_STACK_ID" not in without.env


@pytest.mark.cnb("BLD-26")
@pytest.mark.cnb("BLD-27")
def test_sboms_are_copied_to_their_places(world: World) -> None:
    def program(call: Call) -> None:
        call.write("run.toml", LAUNCH)
        call.write("kept.toml", "[types]\nlaunch = true\ncache = true")
        call.write("tool.toml", "[types]\nbuild = true\ncache = true")
        for what in ("launch", "build", "run", "kept", "tool", "unknown"):
            call.write(f"{what}.sbom.cdx.json", f"{{{what}}}")
        call.write("launch.sbom.spdx.json", "{}")

    media = ("application/vnd.cyclonedx+json", "application/spdx+json")
    world.add("a", program, sbom_formats=media)
    world.build()
    found = {str(p.relative_to(world.layers("sbom"))) for p in world.layers("sbom").rglob("*.json")}
    assert found == {
        "launch/acme_a/sbom.cdx.json",
        "launch/acme_a/sbom.spdx.json",
        "build/acme_a/sbom.cdx.json",
        "launch/acme_a/run/sbom.cdx.json",
        "launch/acme_a/kept/sbom.cdx.json",
        "cache/acme_a/kept/sbom.cdx.json",
        "build/acme_a/tool/sbom.cdx.json",
        "cache/acme_a/tool/sbom.cdx.json",
    }
    assert world.layers("sbom/cache/acme_a/tool/sbom.cdx.json").read_text() == "{tool}"


@pytest.mark.cnb("BLD-26")
@pytest.mark.parametrize("name", ["launch.sbom.spdx.json", "x.sbom.other.json", "gone.sbom.cdx2.json"])
def test_an_sbom_in_an_undeclared_format_is_an_error(world: World, name: str) -> None:
    world.add("a", writes({name: "{}"}), sbom_formats=CDX)
    with pytest.raises(BuildError) as caught:
        world.build()
    assert caught.value.slug == "sbom-format"


@pytest.mark.cnb("BLD-14")
@pytest.mark.cnb("BLD-15")
def test_the_launchers_file_is_written(world: World) -> None:
    web = '[[processes]]\ntype = "web"\ncommand = ["{}"]\n'
    world.add("a", writes({"launch.toml": web.format("a") + "default = true\n"}))
    world.add("b", writes({"launch.toml": web.format("b")}))
    result = world.build()
    written = tomllib.loads(world.layers("config/metadata.toml").read_text())
    assert [b["id"] for b in written["buildpacks"]] == ["acme/a", "acme/b"]
    assert written["processes"][0]["command"] == ["b"]
    assert "buildpack-default-process-type" not in written
    assert result.launch.processes[0].buildpack_id == "acme/b"
    assert len(world.reporter.of(Warned)) == 1


Attack = Callable[[Call, Path], object]


def refused(world: World, attack: Attack) -> PackrunnerError:
    """The build is refused, nothing outside changes, and the host's secret is in no event, error or result."""
    before = _state(world.root)

    def program(call: Call) -> None:
        attack(call, world.root)

    world.add("a", program, sbom_formats=CDX)
    with pytest.raises((UnsafeArchiveError, BuildError)) as caught:
        world.build()
    assert SECRET not in repr((vars(caught.value), world.reporter.events))
    assert _state(world.root) == before
    return caught.value


def _state(root: Path) -> list[tuple[str, int, int, str]]:
    files = [root / "secret", *sorted((root / "outside").iterdir())]
    return [(p.name, p.stat().st_nlink, p.stat().st_mode, p.read_text()) for p in files]


def link(call: Call, name: str, to: Path) -> None:
    path = call.path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(to, path)


@pytest.mark.fault("SBX-01")
@pytest.mark.parametrize(
    "name", ["x.toml", "launch.toml", "build.toml", "store.toml", "launch.sbom.cdx.json", ".packrunner/report.toml"]
)
def test_a_link_to_a_secret_is_not_read(world: World, name: str) -> None:
    assert refused(world, lambda call, root: link(call, name, root / "secret")).slug == "unsafe-tree"


@pytest.mark.fault("SBX-01")
def test_a_link_in_place_of_the_explanation_is_not_read(world: World) -> None:
    def fails(call: Call) -> int:
        link(call, ".packrunner/failure.toml", world.root / "secret")
        return 1

    world.add("a", fails)
    with pytest.raises(BuildpackFailedError) as caught:
        world.build()
    assert SECRET not in repr(vars(caught.value))


@pytest.mark.fault("SBX-01")
def test_a_file_without_end_is_not_read(world: World) -> None:
    def attack(call: Call, root: Path) -> None:
        call.write("launch.toml")
        os.truncate(call.path("launch.toml"), 1 << 40)

    assert refused(world, attack).slug == "unsafe-tree"


@pytest.mark.fault("SBX-02")
@pytest.mark.parametrize("name", ["x/env/FOO", "x/env.build/FOO", "x/env", "x/env.build"])
def test_environment_files_are_not_read_through_links(world: World, name: str) -> None:
    def attack(call: Call, root: Path) -> None:
        call.write("x.toml", BUILD)
        link(call, name, root / "secret" if name.endswith("FOO") else root / "outside")

    assert refused(world, attack).slug == "unsafe-tree"


@pytest.mark.fault("SBX-03")
@pytest.mark.parametrize("types", [LAUNCH, BUILD, "[types]\ncache = true", ""])
def test_a_layer_is_no_link(world: World, types: str) -> None:
    def attack(call: Call, root: Path) -> None:
        call.write("x.toml", types)
        link(call, "x", root / "outside")

    assert refused(world, attack).slug == "unsafe-tree"


@pytest.mark.fault("SBX-03")
def test_the_layers_directory_of_a_buildpack_is_no_link(world: World) -> None:
    def attack(call: Call, root: Path) -> None:
        shutil.rmtree(call.path(""))
        os.symlink(root / "outside", call.path("").rstrip("/"))

    assert refused(world, attack).slug == "unsafe-tree"


@pytest.mark.fault("SBX-04")
@pytest.mark.parametrize("name", ["config", "sbom", "sbom/launch", "config/metadata.toml"])
def test_the_lifecycles_own_files_are_not_written_through_links(world: World, name: str) -> None:
    def attack(call: Call) -> None:
        place = call.host(f"/layers/{name}")
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(world.root / ("outside/FOO" if "." in name else "outside"), place)
        call.write("launch.sbom.cdx.json", "{}")

    before = _state(world.root)
    world.add("a", attack, sbom_formats=CDX)
    world.build()
    assert _state(world.root) == before
    assert world.layers("config/metadata.toml").is_file()
    assert not world.layers("config").is_symlink()
    assert world.layers("sbom/launch/acme_a/sbom.cdx.json").read_text() == "{}"


@pytest.mark.fault("SBX-04")
@pytest.mark.parametrize("name", ["plans/build", "layers/acme_b"])
def test_the_next_programs_plan_and_directory_are_not_made_through_links(world: World, name: str) -> None:
    def attack(call: Call) -> None:
        place = world.root / name
        if place.is_dir():
            place.rename(world.root / "moved")
        place.symlink_to(world.root / "outside")

    before = _state(world.root)
    world.add("a", attack)
    world.add("b", nothing)
    with pytest.raises(UnsafeArchiveError):
        world.build()
    assert _state(world.root) == before


@pytest.mark.fault("SBX-07")
@pytest.mark.parametrize("name", ["x.toml", "launch.toml", "store.toml", "y/env/FOO"])
def test_a_fifo_does_not_block(world: World, name: str) -> None:
    def attack(call: Call, root: Path) -> None:
        call.write("y.toml", BUILD)
        os.makedirs(os.path.dirname(call.path(name)), exist_ok=True)
        os.mkfifo(call.path(name))

    assert refused(world, attack).slug == "unsafe-tree"


@pytest.mark.fault("SBX-14")
def test_nothing_is_read_before_every_process_is_dead(world: World) -> None:
    def leaves_a_process(call: Call) -> None:
        call.write("x.toml", "this is read too early")
        world.sandbox.on_sweep = lambda: Path(call.path("x.toml")).write_text(LAUNCH)

    world.add("a", leaves_a_process)
    (output,) = world.build().outputs
    assert output.layers[0].types.launch


@pytest.mark.fault("SBX-17")
@pytest.mark.parametrize("name", ["...toml", ".toml", "a\nb.toml", "..toml"])
def test_names_of_layers_are_checked(world: World, name: str) -> None:
    assert refused(world, lambda call, root: call.write(name, LAUNCH)).slug == "layer-name"


@pytest.mark.fault("SBX-17")
@pytest.mark.parametrize("text", ["../x", "a/b", "..", "", "a\\nb"])
def test_process_types_are_checked(world: World, text: str) -> None:
    launch = f'[[processes]]\ntype = "{text}"\ncommand = ["x"]\n'
    error = refused(world, lambda call, root: call.write("launch.toml", launch))
    assert (error.slug, error.exit_code) == ("process-type", 52)


@pytest.mark.fault("SBX-17")
@pytest.mark.parametrize("key", ["a\\nb", "", "x" * 300])
def test_label_keys_are_checked(world: World, key: str) -> None:
    labels = f'[[labels]]\nkey = "{key}"\nvalue = "v"\n'
    assert refused(world, lambda call, root: call.write("launch.toml", labels)).slug == "label"


@pytest.mark.fault("SBX-17")
def test_a_huge_label_is_refused(world: World) -> None:
    labels = f'[[labels]]\nkey = "k"\nvalue = "{"x" * (5 << 20)}"\n'
    assert refused(world, lambda call, root: call.write("launch.toml", labels)).slug == "unsafe-tree"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_belongs_to_the_images_user(world: World) -> None:
    world.add("a", writes({"x.toml": LAUNCH, "launch.sbom.cdx.json": "{}"}), sbom_formats=CDX)
    world.build(owner=(12345, 12346))
    places = ["acme_a", "config", "config/metadata.toml", "sbom/launch/acme_a", "sbom/launch/acme_a/sbom.cdx.json"]
    found = [world.layers(p).stat() for p in places] + [(world.root / "plans/build/acme_a/plan.toml").stat()]
    assert {(st.st_uid, st.st_gid) for st in found} == {(12345, 12346)}
