"""The extend phase over a workbench whose programs are Python functions: configuration, arguments, what is kept."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.engines.base import Changes, SandboxSpec
from packrunner.engines.skeleton import AGENT
from packrunner.errors import ExtendError
from packrunner.events import Warned
from packrunner.formats import dockerfile
from packrunner.formats.extension import BuildArg
from packrunner.formats.group import GroupMember
from packrunner.images import tar
from packrunner.images.image import Image
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.lifecycle.extend import AppContext, ExtendInputs, ExtendResult, ExtendTools, extend
from packrunner.lifecycle.generated import Generated
from tests.fakes import Call, FakeReporter, FakeSandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from packrunner.engines.base import Command, Sandbox, Workbench

HEAD = "ARG base_image\nFROM ${base_image}\n"
BASE = Image(env=(("PATH", "/bin"),), user="1000:1000", labels={"kept": "1"})


@dataclass
class FakeBench:
    """A workbench on which every command works, and whose layer holds the commands that ran."""

    sandbox: FakeSandbox
    shows_owners: bool = True

    @contextmanager
    def open(self) -> Iterator[Sandbox]:
        yield self.sandbox

    def pack(self, write: Callable[[bytes], object], below: Mapping[str, tuple[int, int]]) -> Changes:
        for number, command in enumerate(self.sandbox.commands):
            text = " ".join(command.argv).encode()
            write(tar.header(tar.FILE, b"%d" % number, mode=0o644, uid=0, gid=0, size=len(text)))
            write(text + tar.PADDING[len(text) % tar.BLOCK])
        write(tar.END)
        return Changes(entries=len(self.sandbox.commands))


@dataclass
class FakeExtender:
    """Opens such workbenches."""

    agent: Callable[[Call], int]
    ids: int = 65536
    benches: list[FakeBench] = field(default_factory=list)
    specs: list[SandboxSpec] = field(default_factory=list)

    @contextmanager
    def workbench(self, spec: SandboxSpec) -> Iterator[Workbench]:
        self.specs.append(spec)
        self.benches.append(FakeBench(FakeSandbox(programs={AGENT: self.agent}, trust={"SSL_CERT_FILE": "/ca"})))
        yield self.benches[-1]


def obliging(call: Call) -> int:
    """The agent's tools: knows the user `web`, fails what is called `fail`."""
    if call.args[0] == "user":
        name = call.args[-1]
        known = {
            "web": "33\n33\n/srv\n",
            "root": "0\n0\n/root\n",
            "0": "0\n0\n/root\n",
            "1000:1000": "1000\n1000\n/h\n",
        }
        if name not in known:
            call.output("stderr", b"packrunner agent: there is no user\n")
            return 1
        call.say(known[name])
    if "fail" in call.args[-1]:
        call.say("it broke\n")
        return 3
    return 0


class World:
    """A store, an extender, and Dockerfiles to apply."""

    def __init__(self, place: Path, **how: Any) -> None:
        self.place = place
        self.store = LocalStore(str(place / "store"))
        self.engine = FakeExtender(**{"agent": obliging} | how)
        self.reporter = FakeReporter()

    def extend(self, *texts: str, args: Mapping[str, str] | None = None, **how: Any) -> ExtendResult:
        files = [
            Generated(
                extension=GroupMember(id=f"acme/e{i}", version="1.0.0", api="0.12"),
                kind=how.get("kind", "run"),
                file=dockerfile.parse(text.encode(), where=f"e{i}/run.Dockerfile"),
                args=tuple(BuildArg(name=n, value=v) for n, v in (args or {}).items()),
                context=how.get("context", ""),
            )
            for i, text in enumerate(texts)
        ]
        inputs = ExtendInputs(
            kind=how.get("kind", "run"),
            name="run:default",
            image=how.get("image", BASE),
            identity="base",
            rootfs=("/base",),
            dockerfiles=tuple(files),
            app=how.get("app", AppContext()),
            clear=how.get("clear", False),
        )
        snapshots = Snapshots(str(self.place / "snapshots"), self.store)
        try:
            return extend(
                inputs,
                ExtendTools(
                    engine=self.engine,
                    store=self.store,
                    snapshots=snapshots,
                    reporter=self.reporter,
                    records=str(self.place / "records"),
                ),
            )
        finally:
            snapshots.close()

    @property
    def commands(self) -> list[Command]:
        return [command for bench in self.engine.benches for command in bench.sandbox.commands]

    @property
    def ran(self) -> list[str]:
        return [c.argv[-1] for c in self.commands if c.argv[1] == "exec"]

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.reporter.of(Warned)]


@pytest.mark.cnb("EXT-13", "EXT-15")
def test_the_configuration_of_the_dockerfile_is_the_images(tmp_path: Path) -> None:
    text = (
        'ENV A=1 B="$A ${PATH}:/opt"\nENV C=$A\nLABEL x=$C y="two words"\nWORKDIR /srv\nWORKDIR app\nEXPOSE 80 53/udp\n'
        'VOLUME ["/data"]\nSTOPSIGNAL SIGINT\nENTRYPOINT ["/e"]\nCMD run it\n'
    )
    image = World(tmp_path).extend(HEAD + text).image
    assert dict(image.env) == {"PATH": "/bin", "A": "1", "B": " /bin:/opt", "C": "1"}
    assert image.labels == {"kept": "1", "x": "1", "y": "two words", "io.buildpacks.rebasable": "false"}
    assert image.working_dir == "/srv/app"
    assert image.exposed_ports == ("80/tcp", "53/udp")
    assert (image.volumes, image.stop_signal) == (("/data",), "SIGINT")
    assert (image.entrypoint, image.cmd) == (("/e",), ("/bin/sh", "-c", "run it"))


@pytest.mark.cnb("EXT-15")
def test_a_file_without_commands_opens_no_workbench_and_makes_no_layer(tmp_path: Path) -> None:
    world = World(tmp_path)
    result = world.extend(HEAD + "ENV A=1\nLABEL b=c")
    assert (world.engine.specs, result.layers, result.image.layers) == ([], (), ())


@pytest.mark.cnb("EXT-11")
def test_the_arguments_that_commands_see(tmp_path: Path) -> None:
    world = World(tmp_path)
    text = HEAD + "RUN none\nARG base_image user_id group_id build_id mine other=d\nARG twice=${mine}2\nRUN all\n"
    world.extend(text + "ENV mine=env\nRUN env", args={"mine": "m"})
    first, second, third = (c.env for c in world.commands if c.argv[1] == "exec")
    assert {"base_image", "user_id", "mine"}.isdisjoint(first)
    uuid = second["build_id"]
    assert len(uuid) == 36
    assert {k: second[k] for k in ("base_image", "user_id", "group_id", "mine", "other", "twice")} == {
        "base_image": "run:default",
        "user_id": "1000",
        "group_id": "1000",
        "mine": "m",
        "other": "d",
        "twice": "m2",
    }
    assert third["mine"] == "env"
    assert dict(first)["SSL_CERT_FILE"] == "/ca"


@pytest.mark.cnb("EXT-11")
def test_each_dockerfile_gets_the_user_that_the_one_before_left_and_a_build_id_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    again = HEAD + "ARG user_id\nARG group_id\nARG build_id\nRUN x\n"
    world.extend(again + "USER web", again + "USER 1000:1000")
    first, second = (c.env for c in world.commands if c.argv[1] == "exec")
    assert (first["user_id"], first["group_id"]) == ("1000", "1000")
    assert (second["user_id"], second["group_id"]) == ("web", "")
    assert first["build_id"] != second["build_id"]


@pytest.mark.cnb("EXT-11")
def test_commands_run_as_the_images_user_until_another_is_chosen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.extend(
        HEAD + 'RUN a\nUSER root\nRUN b\nWORKDIR /srv\nUSER web\nSHELL ["/bin/bash", "-e"]\nRUN c\n'
        'USER 1000:1000\nRUN ["/d", "e f"]'
    )
    runs = [c for c in world.commands if c.argv[1] == "exec"]
    assert [c.user for c in runs] == [(1000, 1000), None, (33, 33), (1000, 1000)]
    assert [c.env["HOME"] for c in runs] == ["/h", "/root", "/srv", "/h"]
    assert [c.cwd for c in runs] == ["/", "/", "/srv", "/srv"]
    assert runs[2].argv[3:] == ("/bin/bash", "-e", "c")
    assert runs[3].argv[3:] == ("/d", "e f")


@pytest.mark.cnb("EXT-13", "EXC-02")
@pytest.mark.parametrize("user", ["0", "root", "root:root", "0:5"])
def test_a_run_image_that_ends_as_root_fails_with_102(tmp_path: Path, user: str) -> None:
    with pytest.raises(ExtendError) as caught:
        World(tmp_path).extend(HEAD + f"USER {user}")
    assert (caught.value.exit_code, caught.value.slug) == (102, "extend-root")


@pytest.mark.cnb("EXT-13", "EXT-14")
def test_a_build_image_that_ends_as_root_is_warned_about(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.extend(HEAD + "USER root", kind="build")
    assert world.warnings == ["e0/run.Dockerfile leaves root as the user of the build image"]


@pytest.mark.cnb("EXT-13")
@pytest.mark.parametrize(
    ("texts", "rebasable"),
    [
        (("LABEL io.buildpacks.rebasable=true",), "true"),
        (("ENV a=b",), "false"),
        (("LABEL io.buildpacks.rebasable=true", "ENV a=b"), "true"),
        (("ENV a=b", "LABEL io.buildpacks.rebasable=true"), "false"),
        (("LABEL io.buildpacks.rebasable=true", "LABEL io.buildpacks.rebasable=false"), "false"),
    ],
)
def test_rebasable_only_if_every_dockerfile_leaves_it_so(
    tmp_path: Path, texts: tuple[str, ...], rebasable: str
) -> None:
    image = World(tmp_path).extend(*(HEAD + text for text in texts)).image
    assert image.labels["io.buildpacks.rebasable"] == rebasable


@pytest.mark.cnb("EXT-12")
def test_copy_is_done_by_the_agent_from_the_context(tmp_path: Path) -> None:
    (tmp_path / "ctx").mkdir()
    world = World(tmp_path)
    text = 'WORKDIR /srv\nENV D=dir\nCOPY --chown=web --chmod=640 a b ./$D/\nADD ["c d", "/x"]\n'
    world.extend(HEAD + text, context=str(tmp_path / "ctx"))
    (mount,) = world.engine.specs[0].mounts
    assert (mount.source, mount.target, mount.writable) == (str(tmp_path / "ctx"), "/run/packrunner/context", False)
    copies = [c.argv[2:] for c in world.commands if c.argv[1] == "copy"]
    assert [" ".join(words) for words in copies] == [
        "--context /run/packrunner/context --uid 33 --gid 33 --mode 416 -- /srv/dir/ a b",
        "--context /run/packrunner/context --unpack -- /x c d",
    ]


@pytest.mark.cnb("EXT-12", "EXC-02")
@pytest.mark.parametrize(
    "line",
    [
        "ADD https://example.com/x /y",
        "COPY a",
        "COPY --chmod=rw a /b",
        "COPY --chown=nobody-here a /b",
        "SHELL /bin/sh",
    ],
)
def test_instructions_that_cannot_be_carried_out_name_file_and_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(ExtendError) as caught:
        World(tmp_path).extend(HEAD + line)
    assert caught.value.exit_code == 102
    assert caught.value.at == "e0/run.Dockerfile:3"


@pytest.mark.cnb("EXC-02", "EXT-11")
def test_a_command_that_fails_ends_with_102_and_its_words(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(ExtendError, match="Dockerfile:3: RUN ended with exit code 3") as caught:
        world.extend(HEAD + "RUN fail\nRUN never")
    assert caught.value.foreign == ("it broke",)
    assert world.ran == ["fail"]


def test_without_subordinate_ids_another_user_is_refused_and_docker_named(tmp_path: Path) -> None:
    world = World(tmp_path, ids=1)
    world.extend(HEAD + "USER root\nRUN fine\nUSER web")
    for line in ("USER web\nRUN x", "COPY --chown=web a /b"):
        with pytest.raises(ExtendError) as caught:
            world.extend(HEAD + line)
        assert caught.value.slug == "subordinate-ids"
        assert "--engine docker" in " ".join(caught.value.tries)
    with pytest.raises(ExtendError) as caught:
        world.extend(HEAD + "USER root\nRUN fail")
    assert "subordinate" in (caught.value.cause or "")


@pytest.mark.cnb("EXT-11")
def test_an_unchanged_dockerfile_does_not_run_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    text = HEAD + "ENV A=1\nRUN once\nUSER 1000"
    first = world.extend(text)
    again = world.extend(text)
    assert world.ran == ["once"]
    assert again.image.digest == first.image.digest
    assert again.image.layers == first.layers
    world.extend(HEAD + "ARG x\nENV A=1\nRUN once\nUSER 1000", args={"x": "1"})
    world.extend(text, image=BASE.with_env("B", "2"))
    world.extend(text + "\n# comment")
    world.extend(text, clear=True)
    assert world.ran == ["once"] * 5


@pytest.mark.cnb("EXT-11")
def test_arguments_that_nobody_asks_for_change_nothing_and_build_id_is_never_repeated(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.extend(HEAD + "RUN once", args={"x": "1"})
    assert world.extend(HEAD + "RUN once", args={"x": "2"}).repeatable
    assert world.ran == ["once"]
    for _ in range(2):
        assert not world.extend(HEAD + "ARG build_id=0\nRUN again").repeatable
    assert world.ran == ["once", "again", "again"]


@pytest.mark.cnb("EXT-12")
def test_the_contexts_content_counts_only_for_those_who_copy(tmp_path: Path) -> None:
    context = tmp_path / "ctx"
    context.mkdir()
    world = World(tmp_path)
    for content in ("1", "2"):
        (context / "file").write_text(content)
        world.extend(HEAD + "RUN alone", context=str(context))
        world.extend(HEAD + "COPY file /x\nRUN copied", context=str(context))
        world.extend(HEAD + "COPY file /x\nRUN app", app=AppContext(digest=content))
    assert world.ran == ["alone", "copied", "app", "copied", "app"]


def test_a_layer_that_is_gone_from_the_store_is_made_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.extend(HEAD + "RUN once")
    os.unlink(world.store.blob_path(first.layers[0].blob.digest))
    assert world.extend(HEAD + "RUN once").layers == first.layers
    assert world.ran == ["once", "once"]
