"""The detect phase over a sandbox whose programs are Python functions."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.catalog.stage import StagedBuildpack
from packrunner.engines.base import Exit
from packrunner.errors import BuildpackApiError, DetectErroredError, DetectNoneError, UsageError
from packrunner.events import Noted, Output, StepDone, Warned
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, GroupRef, OrderGroup, Target
from packrunner.formats.group import Order, System, SystemRefs, SystemTable
from packrunner.lifecycle.detect import DetectInputs, DetectResult, detect
from packrunner.lifecycle.explain import AppFiles
from tests.fakes import Call, FakeReporter, FakeSandbox, Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AMD = ("linux", "amd64", "", "debian", "13")


def staged(name: str, **how: Any) -> StagedBuildpack:
    """A buildpack `acme/<name>`; keywords go to its descriptor or its [buildpack] table."""
    info = {key: how.pop(key) for key in ("clear_env", "exec_env", "homepage") if key in how}
    descriptor = BuildpackDescriptor(
        api=how.pop("api", "0.12"), buildpack=BuildpackInfo(id=f"acme/{name}", version="1.0.0", **info), **how
    )
    return StagedBuildpack(
        id=f"acme/{name}",
        version="1.0.0",
        digest="sha256:" + "0" * 64,
        path="",
        source="",
        descriptor=descriptor,
        short=name,
    )


def refs(text: str) -> tuple[GroupRef, ...]:
    return tuple(GroupRef(id=f"acme/{w.rstrip('?')}", optional=w.endswith("?")) for w in text.split())


def program(name: str) -> str:
    return f"/cnb/buildpacks/acme_{name}/1.0.0/bin/detect"


def answers(code: int, out: str = "", *, plan: str | bytes = "", err: str = "") -> Program:
    """A bin/detect that writes, prints and exits."""

    def run(call: Call) -> int:
        if plan:
            with open(call.host(call.args[1]), "ab") as file:
                file.write(plan.encode() if isinstance(plan, str) else plan)
        if out:
            call.say(out)
        if err:
            call.output("stderr", err.encode())
        return code

    return run


@dataclass
class World:
    """A sandbox with buildpacks in it, and what detection made of them."""

    plans: str
    programs: Mapping[str, Program]
    buildpacks: Mapping[str, StagedBuildpack] = field(default_factory=dict)
    reporter: FakeReporter = field(default_factory=FakeReporter)
    sandbox: FakeSandbox = field(init=False)

    def __post_init__(self) -> None:
        self.sandbox = FakeSandbox(
            programs={program(name): run for name, run in self.programs.items()}, mounts={"/cnb/plans": self.plans}
        )

    def detect(self, *groups: str, **how: Any) -> DetectResult:
        known = {name: staged(name) for name in self.programs} | dict(self.buildpacks)
        inputs = DetectInputs(
            order=Order(order=tuple(OrderGroup(group=refs(g)) for g in groups)),
            buildpacks={(b.id, b.version): b for b in known.values()},
            plans_dir=self.plans,
            **{"target": AMD} | how,
        )
        return detect(inputs, sandbox=self.sandbox, reporter=self.reporter)

    @property
    def ran(self) -> list[str]:
        return [command.argv[0].split("/")[3].removeprefix("acme_") for command in self.sandbox.commands]


@pytest.fixture
def plans(tmp_path: Path) -> str:
    path = tmp_path / "plans"
    path.mkdir()
    return str(path)


def chosen(result: DetectResult) -> str:
    return " ".join(m.id.removeprefix("acme/") for m in result.group)


def statuses(result: DetectResult) -> list[list[tuple[str, str]]]:
    return [[(m.short, m.status) for m in group.members] for group in result.outcomes]


@pytest.mark.cnb("DET-01", "DET-02", "DET-03", "TGT-08", "DET-10")
def test_how_bin_detect_is_called(plans: str) -> None:
    def look(call: Call) -> int:
        assert call.read(call.args[1]) == ""
        return 0

    world = World(plans, {"a": look, "b": look})
    world.detect("a b", image_env={"PATH": "/bin", "FOO": "1"}, platform_env={"BAR": "2"}, exec_env="test")
    command, other = world.sandbox.commands
    assert command.argv == (program("a"), "/platform", "/cnb/plans/acme_a@1.0.0-detect.toml")
    assert command.cwd == "/workspace"
    assert command.env == {
        "PATH": "/bin",
        "HOME": "/home/cnb",
        "BAR": "2",
        "CNB_BUILDPACK_DIR": "/cnb/buildpacks/acme_a/1.0.0",
        "CNB_PLATFORM_DIR": "/platform",
        "CNB_BUILD_PLAN_PATH": "/cnb/plans/acme_a@1.0.0-detect.toml",
        "CNB_TARGET_OS": "linux",
        "CNB_TARGET_ARCH": "amd64",
        "CNB_TARGET_DISTRO_NAME": "debian",
        "CNB_TARGET_DISTRO_VERSION": "13",
        "CNB_EXEC_ENV": "test",
    }
    assert other.argv[2] != command.argv[2]


@pytest.mark.cnb("DET-03", "TGT-08")
@pytest.mark.parametrize(
    ("api", "named"),
    [
        ("0.7", set()),
        ("0.8", {"CNB_PLATFORM_DIR", "CNB_BUILD_PLAN_PATH"}),
        ("0.9", {"CNB_PLATFORM_DIR", "CNB_BUILD_PLAN_PATH"}),
        ("0.10", {"CNB_PLATFORM_DIR", "CNB_BUILD_PLAN_PATH", "CNB_TARGET_OS", "CNB_TARGET_ARCH"}),
    ],
)
def test_older_apis_get_fewer_variables(plans: str, api: str, named: set[str]) -> None:
    world = World(plans, {"a": answers(0)}, {"a": staged("a", api=api)})
    world.detect("a", target=("linux", "amd64", "", "", ""))
    (command,) = world.sandbox.commands
    assert {name for name in command.env if name.startswith("CNB_")} == named | {"CNB_BUILDPACK_DIR"}


@pytest.mark.cnb("DET-08")
def test_clear_env_keeps_the_users_variables_out(plans: str) -> None:
    world = World(plans, {"a": answers(0), "b": answers(0)}, {"b": staged("b", clear_env=True)})
    world.detect("a b", platform_env={"BAR": "2"}, operator={"OP": b"3"})
    first, second = world.sandbox.commands
    assert (first.env.get("BAR"), second.env.get("BAR")) == ("2", None)
    assert (first.env["OP"], second.env["OP"]) == ("3", "3")


def test_the_hosts_trust_reaches_detect(plans: str) -> None:
    world = World(plans, {"a": answers(0)})
    world.sandbox.trust = {"SSL_CERT_FILE": "/x.pem"}
    world.detect("a")
    assert world.sandbox.commands[0].env["SSL_CERT_FILE"] == "/x.pem"


@pytest.mark.cnb("DET-03")
@pytest.mark.parametrize("name", ["a/b", ""])
def test_an_execution_environment_is_a_plain_name(plans: str, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        World(plans, {"a": answers(0)}).detect("a", exec_env=name)
    assert caught.value.slug == "exec-env"


@pytest.mark.cnb("DET-14", "DET-24", "DET-25")
def test_the_first_group_that_passes_wins(plans: str) -> None:
    world = World(
        plans,
        {
            "a": answers(100),
            "b": answers(0, plan='[[requires]]\nname = "x"\n[requires.metadata]\nv = 1\n'),
            "c": answers(0, plan='[[provides]]\nname = "x"\n'),
            "d": answers(0),
        },
        {"c": staged("c", homepage="https://example.com")},
    )
    result = world.detect("a b", "c b", "d")
    assert [(m.id, m.version, m.api, m.homepage) for m in result.group] == [
        ("acme/c", "1.0.0", "0.12", "https://example.com"),
        ("acme/b", "1.0.0", "0.12", ""),
    ]
    (entry,) = result.plan.entries
    assert [p.id for p in entry.providers] == ["acme/c"]
    assert [(r.name, r.metadata) for r in entry.requires] == [("x", {"v": 1})]
    assert [g.status for g in result.outcomes] == ["failed", "chosen"]
    assert "d" not in world.ran
    (done,) = world.reporter.of(StepDone)
    assert (done.phase, done.subject, done.detail) == ("detect", "2 of 4 buildpacks", "c, b")


@pytest.mark.cnb("DET-13")
def test_each_buildpack_runs_once_and_all_of_a_group_run(plans: str) -> None:
    world = World(plans, {"a": answers(100), "b": answers(0), "c": answers(0)})
    result = world.detect("a b", "b a c", "c b")
    assert chosen(result) == "c b"
    assert Counter(world.ran) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.cnb("DET-12")
@pytest.mark.parametrize("code", [100, 1, 255])
def test_an_optional_member_that_fails_or_errs_is_left_out(plans: str, code: int) -> None:
    world = World(plans, {"a": answers(0), "b": answers(code, "because\n")})
    result = world.detect("b? a")
    assert chosen(result) == "a"
    status = "skipped" if code == 100 else "errored"
    assert statuses(result) == [[("b", status), ("a", "passed")]]
    assert bool(world.reporter.of(Warned)) is (code != 100)
    assert [e.detail for e in world.reporter.of(Output)] == [code == 100]


@pytest.mark.cnb("DET-11", "DET-15")
@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (1, "exit 1: no luck"),
        (Exit(code=137, signal=9), "ended by signal 9"),
        (Exit(code=127, error="no such file"), "did not start: no such file"),
        (Exit(code=143, timed_out=True), "took too long"),
        (101, "exit 101: no luck"),
    ],
)
def test_anything_but_0_and_100_is_an_error(plans: str, ended: int | Exit, text: str) -> None:
    def run(call: Call) -> int | Exit:
        call.say("trying\n")
        call.output("stderr", b"no luck\n")
        return ended

    with pytest.raises(DetectErroredError) as caught:
        World(plans, {"a": run}).detect("a")
    error = caught.value
    assert (error.slug, error.exit_code) == ("detect-errored", 21)
    assert text in (error.cause or "")
    assert error.foreign == ("trying", "no luck")
    assert error.tries


@pytest.mark.cnb("DET-15")
def test_20_21_and_0_over_all_groups(plans: str) -> None:
    programs = {"no": answers(100), "bad": answers(2), "yes": answers(0)}
    with pytest.raises(DetectNoneError) as none:
        World(plans, programs).detect("no", "no yes")
    assert (none.value.slug, none.value.exit_code) == ("detect-none", 20)
    with pytest.raises(DetectErroredError):
        World(plans, programs).detect("bad", "no")
    with pytest.raises(DetectErroredError) as optional:
        World(plans, programs).detect("no bad?", "no")
    assert "no: bin/detect gave no reason" in (optional.value.cause or "")
    assert chosen(World(plans, programs).detect("bad", "yes")) == "yes"


@pytest.mark.cnb("DET-14")
def test_all_optional_and_none_passing_fails(plans: str) -> None:
    with pytest.raises(DetectNoneError) as caught:
        World(plans, {"a": answers(100, "no a-file\n"), "b": answers(100)}).detect("a? b?")
    assert "a: no a-file." in (caught.value.cause or "")


@pytest.mark.cnb("DET-16", "DET-17", "DET-15")
@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (b"[[provides", "not TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b'[[requires]]\nname = "x"\nversion = "1"\n', "version"),
        (b'[[or]]\n[[or.requires]]\nname = "x"\nversion = "1"\n', "version"),
        (b"requires = 3\n", "requires"),
        (b"or = 3\n", "or"),
    ],
)
def test_a_broken_plan_is_an_error(plans: str, plan: bytes, text: str) -> None:
    with pytest.raises(DetectErroredError, match="could not tell") as caught:
        World(plans, {"a": answers(0, plan=plan)}).detect("a")
    assert text in (caught.value.cause or "")


@pytest.mark.cnb("DET-12", "DET-16")
def test_a_broken_plan_of_an_optional_member_only_drops_it(plans: str) -> None:
    world = World(plans, {"a": answers(0, plan=b"?"), "b": answers(0)})
    assert chosen(world.detect("a? b")) == "b"


@pytest.mark.fault("SBX-01", "SBX-07")
@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "huge"])
def test_a_hostile_plan_file_is_an_error_of_its_buildpack(plans: str, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('[[provides]]\nname = "secret"\n')

    def plant(call: Call) -> int:
        path = call.host(call.args[1])
        os.unlink(path)
        match kind:
            case "link":
                os.symlink(secret, path)
            case "fifo":
                os.mkfifo(path)
            case "directory":
                os.mkdir(path)
            case _:
                with open(path, "wb") as file:
                    file.truncate(1 << 30)
        return 0

    with pytest.raises(DetectErroredError) as caught:
        World(plans, {"a": plant}).detect("a")
    assert "its plan cannot be read" in (caught.value.cause or "")
    # The next detection starts from a clean file all the same.
    assert chosen(World(plans, {"a": answers(0)}).detect("a")) == "a"


@pytest.mark.fault("SBX-04")
def test_a_link_left_in_place_of_a_plan_is_never_written_to(plans: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    os.symlink(precious, os.path.join(plans, "acme_a@1.0.0-detect.toml"))
    World(plans, {"a": answers(0)}).detect("a")
    assert precious.read_text() == "mine"


def test_a_plan_file_that_was_removed_says_nothing(plans: str) -> None:
    def remove(call: Call) -> None:
        os.unlink(call.host(call.args[1]))

    assert chosen(World(plans, {"a": remove}).detect("a")) == "a"


@pytest.mark.fault("SBX-14")
def test_plans_are_read_when_nothing_can_change_them(plans: str) -> None:
    world = World(plans, {"a": answers(0)})

    def late() -> None:
        with open(os.path.join(plans, "acme_a@1.0.0-detect.toml"), "wb") as file:
            file.write(b'[[provides]]\nname = "x"\n')

    world.sandbox.on_sweep = late
    with pytest.raises(DetectNoneError, match="no buildpack") as caught:
        world.detect("a")
    assert "provides `x`" in (caught.value.cause or "")


def test_nothing_is_swept_when_no_plan_is_read(plans: str) -> None:
    world = World(plans, {"a": answers(100)})
    with pytest.raises(DetectNoneError):
        world.detect("a")
    assert world.sandbox.sweeps == 0


@pytest.mark.cnb("DET-20", "DET-21")
def test_members_that_the_plan_loses(plans: str) -> None:
    needs = answers(0, plan='[[requires]]\nname = "node"\n')
    world = World(plans, {"a": answers(0), "b": needs})
    result = world.detect("a b", "a b?")
    assert statuses(result) == [[("a", "passed"), ("b", "unmet")], [("a", "passed"), ("b", "skipped")]]
    assert result.outcomes[0].members[1].why == "requires `node`, which nothing before it provides"
    assert chosen(result) == "a"


@pytest.mark.cnb("TGT-05", "DET-15")
def test_a_required_buildpack_for_another_target_is_an_error(plans: str) -> None:
    arm = staged("arm", targets=(Target(os="linux", arch="arm64"),))
    world = World(plans, {"arm": answers(0), "a": answers(100)}, {"arm": arm})
    with pytest.raises(DetectErroredError, match="cannot be used") as caught:
        world.detect("arm a")
    assert caught.value.cause == "made for linux/arm64, and this is linux/amd64 debian 13"
    assert world.ran == ["a"]


@pytest.mark.cnb("TGT-06")
def test_an_optional_buildpack_for_another_target_is_left_out(plans: str) -> None:
    arm = staged("arm", targets=(Target(os="linux", arch="arm64"),))
    world = World(plans, {"arm": answers(0), "a": answers(0)}, {"arm": arm})
    result = world.detect("arm? a")
    assert (chosen(result), world.ran) == ("a", ["a"])
    assert statuses(result) == [[("arm", "skipped"), ("a", "passed")]]
    assert not world.reporter.of(Warned)


@pytest.mark.cnb("TGT-06", "BPD-04")
def test_composites_have_no_target_and_their_programs_never_run(plans: str) -> None:
    meta = staged("meta", order=(OrderGroup(group=refs("a")),))
    world = World(plans, {"a": answers(0), "meta": answers(1)}, {"meta": meta})
    result = world.detect("meta")
    assert (chosen(result), world.ran) == ("a", ["a"])
    assert world.reporter.of(StepDone)[0].subject == "1 of 1 buildpack"


@pytest.mark.cnb("DET-26")
def test_members_of_other_environments_are_skipped(plans: str) -> None:
    world = World(plans, {"a": answers(0), "t": answers(0)}, {"t": staged("t", exec_env=("test",))})
    result = world.detect("t", "t a")
    assert chosen(result) == "a"
    assert [g.status for g in result.outcomes] == ["failed", "chosen"]
    assert statuses(result)[1] == [("a", "passed"), ("t", "skipped")]
    with pytest.raises(DetectNoneError, match="no buildpack") as caught:
        World(plans, {"t": answers(0)}, {"t": staged("t", exec_env=("test",))}).detect("t")
    assert "execution environment" in (caught.value.cause or "")


@pytest.mark.cnb("BPD-02")
def test_nothing_runs_when_an_api_is_not_supported(plans: str) -> None:
    world = World(plans, {"a": answers(0), "b": answers(0)}, {"b": staged("b", api="0.99")})
    with pytest.raises(BuildpackApiError):
        world.detect("a", "b")
    assert world.ran == []


@pytest.mark.cnb("BPD-11", "DET-12")
def test_system_buildpacks_take_part(plans: str) -> None:
    world = World(plans, {"a": answers(0), "pre": answers(0), "post": answers(100)})
    table = SystemTable(pre=SystemRefs(buildpacks=refs("pre?")), post=SystemRefs(buildpacks=refs("post?")))
    assert chosen(world.detect("a", system=System(system=table))) == "pre a"


def shown(world: World) -> list[tuple[str, bytes, bool]]:
    """What of the output reaches the user, and whether only with -v."""
    return [(e.source, e.data, e.detail) for e in world.reporter.of(Output)]


@pytest.mark.cnb("DET-27")
def test_output_is_held_and_dumped_when_detection_fails(plans: str) -> None:
    talk = answers(100, "looking around\nno a-file\n", err="a warning\n")
    yes = answers(0, "found it\n", plan='[[requires]]\nname = "x"\n')
    world = World(plans, {"a": talk, "b": answers(100, "no b-file\n"), "c": yes})
    with pytest.raises(DetectNoneError):
        world.detect("a", "b", "c")
    assert shown(world) == [
        ("a", b"looking around\nno a-file\n", False),
        ("a", b"a warning\n", False),
        ("b", b"no b-file\n", True),  # its reason alone, which the error and --explain tell
        ("c", b"found it\n", False),
    ]


@pytest.mark.cnb("DET-27")
def test_output_of_a_detection_that_succeeds_has_two_levels(plans: str) -> None:
    """Of 0 and 100 it is detail, of errors it is shown; both streams in their order."""
    both = answers(1, "out\n", err="err\n")
    world = World(plans, {"a": answers(100, "no\n"), "b": both, "c": answers(0, "yes\n")})
    world.detect("a? b? c")
    assert shown(world) == [
        ("a", b"no\n", True),
        ("b", b"out\n", False),
        ("b", b"err\n", False),
        ("c", b"yes\n", True),
    ]


@pytest.mark.cnb("DET-27")
def test_a_flood_of_output_is_bounded_and_keeps_its_end(plans: str) -> None:
    def flood(call: Call) -> int:
        for _ in range(300):
            call.output("stdout", b"x" * 65536 + b"\n")
        call.say("the reason\n")
        return 100

    world = World(plans, {"a": flood})
    with pytest.raises(DetectNoneError) as caught:
        world.detect("a")
    assert "a: the reason." in (caught.value.cause or "")
    assert sum(len(e.data) for e in world.reporter.of(Output)) <= 1 << 20
    assert any("more than 1 MB" in e.text for e in world.reporter.of(Noted))


def test_the_message_names_the_closest_group_and_what_to_try(plans: str) -> None:
    world = World(
        plans,
        {
            "java": answers(100, "needs one of pom.xml, build.gradle\n"),
            "python": answers(
                100,
                "needs one of requirements.txt, pyproject.toml. There is app.py\n"
                "try: create requirements.txt (an empty one will do)\n",
            ),
            "env": answers(100, "no BPE_ variable\n"),
        },
    )
    with pytest.raises(DetectNoneError) as caught:
        world.detect("env? java", "env? python", app_files=AppFiles(count=14, names=("app.py", "README")))
    error = caught.value
    assert error.brief == "no buildpack accepts this application"
    assert error.cause == (
        "14 files looked at, 2 groups tried. Closest was python: it needs one of requirements.txt, pyproject.toml. "
        "There is app.py."
    )
    assert error.tries == ("create requirements.txt (an empty one will do)",)
    assert error.more is None
    assert all(detail for _, _, detail in shown(world))


def test_one_group_is_not_called_the_closest(plans: str) -> None:
    with pytest.raises(DetectNoneError) as caught:
        World(plans, {"a": answers(100, "needs a-file")}).detect("a", app_files=AppFiles(count=1))
    assert caught.value.cause == "1 file looked at. a: it needs a-file."


def test_an_empty_application_is_called_empty(plans: str) -> None:
    with pytest.raises(DetectNoneError) as caught:
        World(plans, {"a": answers(100, "needs a-file")}).detect("a", app_files=AppFiles(count=0))
    assert caught.value.cause == "there are no files in it."
    assert "--path" in caught.value.tries[0]


def test_a_reason_cannot_steer_the_terminal(plans: str) -> None:
    with pytest.raises(DetectNoneError) as caught:
        World(plans, {"a": answers(100, "\x1b[2J\x1b]0;title\x07needs\x08 a\x9b31m\r\n")}).detect("a")
    assert caught.value.cause == "a: it needs a31m."


def test_too_many_combinations_say_so(plans: str) -> None:
    plan = '[[provides]]\nname = "%s"\n[[requires]]\nname = "%s"\n' + "[[or]]\n" * 4
    programs = {f"m{i}": answers(0, plan=plan % (i, i)) for i in range(30)}
    programs["h"] = answers(0, plan='[[provides]]\nname = "x"\n[[requires]]\nname = "nothing"\n')
    programs["z"] = answers(0, plan='[[requires]]\nname = "x"\n')
    group = " ".join(["h?", *(f"m{i}" for i in range(30)), "z"])
    with pytest.raises(DetectErroredError, match="too many ways") as caught:
        World(plans, programs).detect(group, group)
    assert "combinations" in (caught.value.cause or "")


def test_an_endless_cross_product_says_so(plans: str) -> None:
    names = [f"{side}{i}" for i in range(20) for side in "lr"]
    metas = {
        f"o{i}": staged(f"o{i}", order=(OrderGroup(group=refs(f"l{i}")), OrderGroup(group=refs(f"r{i}"))))
        for i in range(20)
    }
    world = World(plans, {name: answers(100) for name in names}, metas)
    began = time.monotonic()
    with pytest.raises(DetectErroredError, match="too many ways") as caught:
        world.detect(" ".join(f"o{i}" for i in range(20)))
    assert "5000 groups were tried" in (caught.value.cause or "")
    assert time.monotonic() - began < 30
    assert len(world.ran) <= len(names)


def test_200_groups_of_500_buildpacks_cost_little(plans: str) -> None:
    """The goal is 0.3 s beyond what the buildpacks need; the bound here allows for a busy machine."""
    programs: dict[str, Program] = {f"b{i}": lambda _call: 100 for i in range(500)}
    programs["last"] = answers(0)
    groups = [" ".join(f"b{(i * 5 + j) % 500}" for j in range(5)) for i in range(200)]
    world = World(plans, programs)
    began = time.monotonic()
    world.detect(*groups, "last")
    assert time.monotonic() - began < 30
    assert len(world.ran) == 501


def test_plan_files_belong_to_the_build_user(plans: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    World(plans, {"a": answers(0)}).detect("a", owner=(1000, 1001))
    st = os.lstat(os.path.join(plans, "acme_a@1.0.0-detect.toml"))
    assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (1000, 1001, 0o644)
