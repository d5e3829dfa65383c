"""What bin/detect finds around it, in a real sandbox and for every Buildpack API: small scripts print what they see."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from packrunner import workspace
from packrunner.catalog.stage import StagedBuildpack
from packrunner.engines.base import Mount, SandboxSpec, User
from packrunner.engines.sandbox import SandboxEngine
from packrunner.formats.api import BUILDPACK_APIS
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, GroupRef, OrderGroup
from packrunner.formats.group import Order
from packrunner.lifecycle.detect import DetectInputs, examine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from packrunner.lifecycle.detect import Findings

pytestmark = pytest.mark.sandbox

USER = User()
IMAGE_ENV = {
    "PATH": "/usr/bin:/bin",
    "FOO": "1",
    "HOME": "/root",
    "HOSTNAME": "image",
    "LD_LIBRARY_PATH": "/image/lib",
    "CNB_STACK_ID": "stack",
}
USERS_ENV = {"PATH": "/mine", "CPATH": "/c", "KEEP": " a b\n\n", "A.append": "x", "OP": "user", "OVER": "user"}
OPERATOR = {"OP": b"operator", "NEW": b"operator", "OVER.override": b"operator\n"}
DUMP = """\
    echo "self=$0"
    echo "args=$*"
    echo "cwd=$(pwd)"
    echo "id=$(id -u):$(id -g)"
    echo "size=$(wc -c < "$2")"
    printf '[[provides]]\\nname = "%s"\\n[[requires]]\\nname = "%s"\\n' "$0" "$0" >> "$2"
    echo "plan=$(cat "$2" | tr '\\n' ' ')"
    echo "file=$(cat /platform/env/KEEP; echo .)"
    echo "env:"
    tr '\\0\\n' '\\n~' < /proc/$$/environ
    """


@dataclass(frozen=True, slots=True)
class Seen:
    """What one script printed."""

    facts: Mapping[str, str]
    env: Mapping[str, str]


@dataclass
class World:
    """Buildpacks, an application and a root made of the host's programs."""

    root: Path

    def add(self, name: str, script: str, **info: object) -> StagedBuildpack:
        place = self.root / "buildpacks" / f"acme_{name}" / "1.0.0"
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "detect").write_text("#!/bin/sh\n" + textwrap.dedent(script))
        (place / "bin" / "detect").chmod(0o755)
        api = str(info.pop("api", "0.12"))
        descriptor = BuildpackDescriptor(
            api=api,
            buildpack=BuildpackInfo(id=f"acme/{name}", version="1.0.0", **info),  # type: ignore[arg-type]  # by name
        )
        return StagedBuildpack(
            id=f"acme/{name}",
            version="1.0.0",
            digest="",
            path=str(place),
            source="",
            descriptor=descriptor,
            short=name,
        )

    def examine(self, *groups: tuple[StagedBuildpack, ...], optional: bool = False) -> Findings:
        app = self.root / "app"
        app.mkdir(exist_ok=True)
        owner = (USER.uid, USER.gid) if os.geteuid() == 0 else None
        known = {(b.id, b.version): b for group in groups for b in group}
        refs = [tuple(GroupRef(id=b.id, version=b.version, optional=optional) for b in group) for group in groups]
        with workspace.opened(
            str(self.root / "ws"), str(app), owner=owner, env=USERS_ENV, bindings={}, waiting=lambda: None
        ) as ws:
            inputs = DetectInputs(
                order=Order(order=tuple(OrderGroup(group=group) for group in refs)),
                buildpacks=known,
                plans_dir=ws.plans,
                target=("linux", "amd64", "", "debian", "13"),
                image_env=IMAGE_ENV,
                platform_env=USERS_ENV,
                operator=OPERATOR,
                home=USER.home,
                owner=owner,
            )
            mounts = (
                *host_programs(self.root / "base"),
                Mount(source=str(self.root / "buildpacks"), target=workspace.BUILDPACKS_DIR),
                Mount(source=str(app), target=workspace.APP_DIR),
                Mount(source=ws.platform, target=workspace.PLATFORM_DIR),
                Mount(source=ws.plans, target=workspace.PLANS_DIR, writable=True),
            )
            spec = SandboxSpec(rootfs=(str(self.root / "base"),), mounts=mounts, trust=False)
            environ = {"PATH": os.environ["PATH"], "CNB_REGISTRY_AUTH": "secret", "DOCKER_CONFIG": "/secret"}
            with SandboxEngine(str(self.root / "state"), environ=environ).open(spec) as sandbox:
                return examine(inputs, sandbox=sandbox)


def host_programs(base: Path) -> list[Mount]:
    """The mounts that make `base` a root with the host's programs."""
    for name in ("usr", "etc", "proc"):
        (base / name).mkdir(parents=True, exist_ok=True)
    mounts = [Mount(source="/usr", target="/usr")]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            if not (base / name).is_symlink():
                (base / name).symlink_to(os.readlink(f"/{name}"))
        elif os.path.isdir(f"/{name}"):
            mounts.append(Mount(source=f"/{name}", target=f"/{name}"))
    return mounts


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What scripts of every API print, and one that wants none of the user's variables: all in one group."""
    world = World(tmp_path_factory.mktemp("dump"))
    group = [world.add(api, DUMP, api=api) for api in BUILDPACK_APIS]
    group.append(world.add("clear", DUMP, clear_env=True))
    findings = world.examine(tuple(group))
    assert findings.resolution is not None, findings.outcomes
    found = {}
    for b in group:
        text = b"".join(d for _, d in findings.runs[b.id, b.version].held.chunks).decode()
        facts, _, env = text.partition("env:\n")
        found[b.short] = Seen(pairs(facts), {k: v.replace("~", "\n") for k, v in pairs(env).items()})
    return found


def pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.mark.cnb("DET-01", "DET-02", "DET-10")
@pytest.mark.parametrize("api", BUILDPACK_APIS)
def test_how_the_program_is_started(seen: dict[str, Seen], api: str) -> None:
    facts = seen[api].facts
    program = f"/cnb/buildpacks/acme_{api}/1.0.0/bin/detect"
    plan = f"/cnb/plans/acme_{api}@1.0.0-detect.toml"
    assert (facts["self"], facts["args"], facts["cwd"]) == (program, f"/platform {plan}", "/workspace")
    assert facts["id"] == "1000:1000"
    # The plan was there, empty and writable, and nobody else's.
    assert facts["size"].strip() == "0"
    assert facts["plan"] == f'[[provides]] name = "{program}" [[requires]] name = "{program}" '


@pytest.mark.cnb("DET-03", "TGT-08")
@pytest.mark.parametrize("api", BUILDPACK_APIS)
def test_which_variables_of_the_specification_are_set(seen: dict[str, Seen], api: str) -> None:
    minor = int(api.partition(".")[2])
    expected = {"CNB_BUILDPACK_DIR": f"/cnb/buildpacks/acme_{api}/1.0.0", "CNB_STACK_ID": "stack"}
    if minor >= 8:
        expected |= {
            "CNB_PLATFORM_DIR": "/platform",
            "CNB_BUILD_PLAN_PATH": f"/cnb/plans/acme_{api}@1.0.0-detect.toml",
        }
    if minor >= 10:
        expected |= {
            "CNB_TARGET_OS": "linux",
            "CNB_TARGET_ARCH": "amd64",
            "CNB_TARGET_DISTRO_NAME": "debian",
            "CNB_TARGET_DISTRO_VERSION": "13",
        }
    if minor >= 12:
        expected["CNB_EXEC_ENV"] = "production"
    assert {name: value for name, value in seen[api].env.items() if name.startswith("CNB_")} == expected


@pytest.mark.cnb("DET-01", "DET-04", "DET-05")
def test_of_the_image_only_some_variables_survive_and_of_the_host_none(seen: dict[str, Seen]) -> None:
    env = {name: value for name, value in seen["0.7"].env.items() if not name.startswith("CNB_")}
    assert set(env) == {"HOME", "HOSTNAME", "LD_LIBRARY_PATH", "NEW", *USERS_ENV}
    assert (env["HOME"], env["HOSTNAME"], env["LD_LIBRARY_PATH"]) == ("/home/cnb", "image", "/image/lib")


@pytest.mark.cnb("DET-06", "DET-07")
def test_the_users_variables_are_taken_to_the_byte(seen: dict[str, Seen]) -> None:
    env = seen["0.12"].env
    assert (env["KEEP"], env["A.append"]) == (" a b\n\n", "x")
    assert "A" not in env
    assert (env["PATH"], env["CPATH"]) == ("/mine:/usr/bin:/bin", "/c")


@pytest.mark.cnb("DET-08")
def test_clear_env_leaves_the_files_and_the_operator(seen: dict[str, Seen]) -> None:
    clear = seen["clear"]
    assert not {"KEEP", "A.append", "CPATH"} & set(clear.env)
    assert clear.env["PATH"] == "/usr/bin:/bin"
    assert clear.facts["file"].startswith(" a b")
    assert (clear.env["OP"], clear.env["NEW"], clear.env["OVER"]) == ("operator", "operator", "operator\n")


@pytest.mark.cnb("DET-09")
def test_the_operators_plain_value_is_a_default_and_its_override_wins(seen: dict[str, Seen]) -> None:
    env = seen["0.12"].env
    assert (env["OP"], env["NEW"], env["OVER"]) == ("user", "operator", "operator\n")


@pytest.mark.cnb("DET-11")
@pytest.mark.parametrize(
    ("script", "status", "why"),
    [
        ("exit 0", "passed", ""),
        ("exit 100", "failed", "bin/detect gave no reason (exit 100)"),
        ("exit 1", "errored", "bin/detect ended with exit 1 and no message"),
        ("exit 101", "errored", "bin/detect ended with exit 101 and no message"),
        ("kill -9 $$", "errored", "bin/detect was ended by signal 9"),
        ("kill -TERM $$", "errored", "bin/detect was ended by signal 15"),
    ],
)
def test_how_it_ends(world: World, script: str, status: str, why: str) -> None:
    (group,) = world.examine((world.add("a", script),)).outcomes
    assert [(m.status, m.why) for m in group.members] == [(status, why)]


@pytest.mark.cnb("DET-12", "DET-13")
def test_all_of_a_group_run_and_each_only_once(world: World) -> None:
    """Counter files: in the directory of plans, the one place that all can write to."""
    count = 'echo x >> "$(dirname "$2")/count-%s"; exit %d'
    a, b, c = (world.add(name, count % (name, code)) for name, code in (("a", 1), ("b", 0), ("c", 0)))
    findings = world.examine((a, b), (b, a, c), (c, b))
    assert [g.status for g in findings.outcomes] == ["errored", "errored", "chosen"]
    counts = {name: (world.root / "ws" / "plans" / f"count-{name}").read_text() for name in "abc"}
    assert counts == {"a": "x\n", "b": "x\n", "c": "x\n"}


@pytest.mark.cnb("DET-13")
def test_members_of_a_group_run_at_the_same_time(world: World) -> None:
    """Each waits for the other's file: one after the other they would wait for ever."""
    wait = """\
        mine="$(dirname "$2")/here-%s" other="$(dirname "$2")/here-%s"
        touch "$mine"
        for i in $(seq 200); do [ -e "$other" ] && exit 0; sleep 0.05; done
        exit 1
        """
    findings = world.examine((world.add("a", wait % ("a", "b")), world.add("b", wait % ("b", "a"))))
    assert findings.resolution is not None


HOSTILE: dict[str, tuple[str, str]] = {
    "a link out": ('ln -sf /etc/passwd "$2"', "its plan cannot be read"),
    "a link to another plan": ('ln -sf "$(dirname "$2")/acme_b@1.0.0-detect.toml" "$2"', "its plan cannot be read"),
    "a fifo": ('rm "$2"; mkfifo "$2"', "its plan cannot be read"),
    "a directory": ('rm "$2"; mkdir "$2"', "its plan cannot be read"),
    "a huge file": ('truncate -s 3G "$2"', "its plan cannot be read"),
    "not UTF-8": ("printf '\\n\\377' > \"$2\"", "is not UTF-8 (line 2)"),
    "not TOML": ("printf 'a = 1\\nb' > \"$2\"", "is not TOML"),
}


@pytest.mark.cnb("DET-16")
@pytest.mark.fault("SBX-01", "SBX-07")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_plan_that_cannot_be_one(world: World, name: str) -> None:
    script, why = HOSTILE[name]
    (group,) = world.examine((world.add("a", script), world.add("b", "exit 0"))).outcomes
    assert group.members[0].status == "errored"
    assert why in group.members[0].why


@pytest.mark.fault("SBX-07")
def test_a_flood_of_output_takes_no_memory_and_keeps_its_end(world: World) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flood = "head -c 200000000 /dev/zero; printf '\\377\\376 not text\\n'; echo the reason; exit 100"
    findings = world.examine((world.add("a", flood),))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert findings.outcomes[0].members[0].why == "the reason"
    assert findings.runs["acme/a", "1.0.0"].held.cut
    assert grown < 64 << 10, f"{grown >> 10} MB"
