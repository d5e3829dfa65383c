"""What every engine must do. A new engine joins by an entry in ENGINES; nothing here knows how one works inside.

Engine `inline` has no walls of its own: the classes about files, trust and attacks are for engines that have.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner.engines.base import Command, Exit, Mount, Overlay, SandboxSpec, User
from packrunner.engines.docker import DockerEngine
from packrunner.engines.inline import InlineEngine
from packrunner.engines.sandbox import SandboxEngine
from packrunner.errors import EngineError
from packrunner.images.daemon import Daemon
from packrunner.images.dockerd import Dockerd, find_host
from packrunner.images.image import Image
from packrunner.images.layer import Tree, write_layer
from packrunner.images.store import LocalStore
from tests.contract.programs import copy_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from packrunner.engines.base import Engine, OutputSink, Sandbox, Stream
    from tests.services import DockerService

pytestmark = pytest.mark.sandbox

AS_ROOT = os.geteuid() == 0
# Not the virtual environment's: a checkout may be below /tmp, and a sandbox has a /tmp of its own.
PYTHON = os.path.realpath(sys.executable)
HERE = os.path.dirname(os.path.abspath(__file__))
OWN_SETTINGS = (
    "/proc/sys/fs/mqueue/",
    *(f"/proc/sys/kernel/{name}" for name in ("msg", "sem", "shm", "auto_msgmni", "ns_last_pid", "pid_max")),
)
PATH = {"PATH": "/usr/bin:/bin", "HOME": "/home/cnb"}


@functools.cache
def connection(host: str) -> Dockerd:
    """One connection for all tests."""
    return Dockerd(find_host({"DOCKER_HOST": host}))


ENGINES: dict[str, Callable[[str, Mapping[str, str]], Engine]] = {
    "sandbox": lambda state, environ: SandboxEngine(state, environ=environ),
    "inline": lambda state, environ: InlineEngine(),
    "docker": lambda state, environ: DockerEngine(
        Daemon(connection(os.environ["DOCKER_HOST"])),
        LocalStore(os.environ.get("TEST_STORE", "")),
        state,
        environ=environ,
        network="host",
    ),
}
docker = pytest.param("docker", marks=pytest.mark.docker)
walled = pytest.mark.parametrize("place", ["sandbox", docker], indirect=True)


@dataclass
class Place:
    """An engine, a root made of the host's programs, and a writable directory that both sides see."""

    engine: Engine
    spec: SandboxSpec
    shared: Path
    directory: Path
    layers: str = "/layers"
    """Where `shared` is inside."""
    programs: Image | None = None
    """What engines have as an image that cannot show this machine's directories; `base` and others go on top."""

    @property
    def opened(self) -> SandboxSpec:
        """The specification with what a test has put into `base`, or on top of it."""
        if self.programs is None:
            return self.spec
        trees = [self.directory / "base", *map(Path, self.spec.rootfs[1:])]
        store = LocalStore(os.environ["TEST_STORE"])
        parts = [[Tree(source=str(tree), target="/", uid=0, gid=0)] for tree in trees if any(tree.iterdir())]
        layers = [write_layer(store, part, created_by="test").layer for part in parts]
        return replace(self.spec, image=self.programs.with_layers(*layers))

    def run(self, *argv: str, env: Mapping[str, str] = PATH, cwd: str = "/") -> tuple[Exit, str]:
        """Run one command in a sandbox of its own; its end, and what it wrote."""
        with self.engine.open(self.opened) as sandbox:
            return run(sandbox, *argv, env=env, cwd=cwd)

    def attack(self, name: str, *args: str) -> list[str]:
        """What worked of an attack (attacker.py)."""
        ended, output = self.run(PYTHON, "-I", "/attack/attacker.py", name, *args)
        *lines, last = output.splitlines()
        assert (ended.code, last) == (0, "done"), output
        return [line for line in lines if line.startswith("worked: ")]


def run(
    sandbox: Sandbox, *argv: str, env: Mapping[str, str] = PATH, cwd: str = "/", timeout: float | None = None
) -> tuple[Exit, str]:
    """Run a command; its end, and stdout and stderr together."""
    parts: list[bytes] = []
    ended = sandbox.run(Command(argv=argv, env=env, cwd=cwd, timeout=timeout), lambda _, data: parts.append(data))
    return ended, b"".join(parts).decode(errors="surrogateescape")


def shell(script: str) -> tuple[str, ...]:
    """The argv of a shell script."""
    return ("/bin/sh", "-c", textwrap.dedent(script))


def nothing(_: Stream, data: bytes) -> None:
    """A sink for output that nobody reads."""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerService) -> Iterator[tuple[str, Image]]:
    """A store, and in it an image of this machine's programs."""
    place = tmp_path_factory.mktemp("programs")
    copy_to(place / "root")
    store = LocalStore(str(place / "store"))
    part = Tree(source=str(place / "root"), target="/", uid=0, gid=0)
    image = Image().with_layers(write_layer(store, [part], created_by="test").layer)
    store.write(image, ["programs"])
    yield store.root, image
    if connection.cache_info().currsize:
        connection(docker_engine.host).close()


@pytest.fixture(params=[docker if name == "docker" else name for name in sorted(ENGINES)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A fresh state directory, root and writable directory."""
    if request.param == "docker":
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_engine").host)
        store, image = request.getfixturevalue("programs")
        monkeypatch.setenv("TEST_STORE", store)
        place = _contained(tmp_path, image)
        yield place
        assert isinstance(place.engine, DockerEngine)
        place.engine.close()
        api = connection(os.environ["DOCKER_HOST"]).api
        assert until(lambda: api.containers(all=True) == [])
        return
    if request.param != "inline":
        yield _mounted(request.param, tmp_path)
        return
    # Everybody may pass through the parents of this one, which the test's own directory forbids.
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        user = User() if AS_ROOT else User(uid=os.geteuid(), gid=os.getegid())
        os.chown(shared, user.uid, user.gid)
        mount = Mount(source=shared, target=shared, writable=True)
        yield Place(
            engine=ENGINES["inline"]("", {}),
            spec=SandboxSpec(rootfs=("/",), user=user, mounts=(mount,)),
            shared=Path(shared),
            directory=tmp_path,
            layers=shared,
        )


def _mounted(engine: str, tmp_path: Path) -> Place:
    base = tmp_path / "base"
    for name in ("usr", "etc", "proc"):
        (base / name).mkdir(parents=True)
    mounts = [Mount(source="/usr", target="/usr"), Mount(source=HERE, target="/attack")]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            (base / name).symlink_to(os.readlink(f"/{name}"))
        elif os.path.isdir(f"/{name}"):
            mounts.append(Mount(source=f"/{name}", target=f"/{name}"))
    python = os.path.realpath(sys.base_prefix)
    if not python.startswith("/usr"):
        mounts.append(Mount(source=python, target=python))
    shared = tmp_path / "shared"
    shared.mkdir()
    if AS_ROOT:
        os.chown(shared, 1000, 1000)
    mounts.append(Mount(source=str(shared), target="/layers", writable=True))
    return Place(
        engine=ENGINES[engine](str(tmp_path / "state"), os.environ),
        spec=SandboxSpec(rootfs=(str(base),), mounts=tuple(mounts)),
        shared=shared,
        directory=tmp_path,
    )


def _contained(tmp_path: Path, image: Image) -> Place:
    shared = tmp_path / "shared"
    for path in (tmp_path / "base", shared):
        path.mkdir()
    os.chown(shared, 1000, 1000)
    return Place(
        engine=ENGINES["docker"](str(tmp_path / "state"), os.environ),
        spec=SandboxSpec(
            rootfs=("/",),
            image=image,
            mounts=(
                Mount(source=HERE, target="/attack"),
                Mount(source=str(shared), target="/layers", writable=True),
            ),
        ),
        shared=shared,
        directory=tmp_path,
        programs=image,
    )


def processes(marker: str) -> list[int]:
    """Processes of this machine whose command line holds the marker, this one aside."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if marker.encode() in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def first_process(place: Place) -> int:
    """The agent of the one sandbox that is open here, as this machine numbers it."""
    if place.engine.name == "inline":
        (pid,) = processes("agent\0serve\0--uid\0")
        return pid
    if place.engine.name == "docker":
        api = connection(os.environ["DOCKER_HOST"]).api
        (running,) = api.containers()
        return int(api.inspect_container(running["Id"])["State"]["Pid"])
    for pid in processes("/run/packrunner/agent\0"):
        with open(f"/proc/{pid}/cmdline", "rb") as file, open(f"/proc/{pid}/mountinfo") as mounts:
            if file.read().startswith(b"/run/packrunner/agent") and str(place.directory) in mounts.read():
                return pid
    raise AssertionError("no agent is running")


def until(condition: Callable[[], bool], limit: float = 10.0) -> bool:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestCommands:
    @pytest.mark.parametrize("code", [0, 1, 100, 255])
    def test_the_exit_code_is_the_commands(self, place: Place, code: int) -> None:
        ended, _ = place.run(*shell(f"exit {code}"))
        assert ended == Exit(code=code)

    def test_a_signal_is_128_and_its_number(self, place: Place) -> None:
        ended, _ = place.run(*shell("kill -9 $$"))
        assert ended == Exit(code=137, signal=9)

    def test_a_missing_program_is_an_exit_with_a_reason(self, place: Place) -> None:
        ended, _ = place.run("/no/such/program")
        assert ended.code == 127
        assert ended.error is not None
        assert "/no/such/program" in ended.error

    def test_the_environment_is_exactly_what_was_given(self, place: Place) -> None:
        env = {"PATH": "/usr/bin", "A": "1 2\n3", "EMPTY": "", "ODD": "\udcff\udc80", "UNICODE": "ü"}
        _, output = place.run("/usr/bin/env", "-0", env=env)
        assert dict(entry.split("=", 1) for entry in output.split("\0") if entry) == env

    def test_the_working_directory(self, place: Place) -> None:
        assert place.run(*shell("pwd -P"), cwd=place.layers)[1] == f"{place.layers}\n"

    @pytest.mark.fault("SBX-42")
    def test_the_user_is_the_images_and_in_no_other_group(self, place: Place) -> None:
        _, output = place.run(*shell("id -u; id -g; id -G"))
        user = place.spec.user
        # An ordinary user cannot leave its groups, but by a user namespace.
        groups = output.split()[2:] if place.engine.name == "inline" and not AS_ROOT else [str(user.gid)]
        assert output.split() == [str(user.uid), str(user.gid), *groups]

    def test_a_command_reads_what_it_is_fed(self, place: Place) -> None:
        parts: list[bytes] = []
        with place.engine.open(place.spec) as sandbox:
            ended = sandbox.feed(
                Command(argv=shell("cat"), env=PATH),
                (b"x" * 100_000 for _ in range(3)),
                lambda _, data: parts.append(data),
            )
        assert (ended, len(b"".join(parts))) == (Exit(code=0), 300_000)

    def test_who_feeds_hears_of_an_end_that_comes_first(self, place: Place) -> None:
        waiting = threading.Event()

        def stdin() -> Iterator[bytes]:
            yield b"one\n"
            assert waiting.wait(30)

        with place.engine.open(place.spec) as sandbox:
            ended = sandbox.feed(Command(argv=shell("read x; exit 3"), env=PATH), stdin(), nothing, ended=waiting.set)
        assert ended == Exit(code=3)

    def test_commands_are_asked_to_end_and_may_take_their_time(self, place: Place) -> None:
        heard: list[bytes] = []
        up = threading.Event()

        def sink(_: Stream, data: bytes) -> None:
            heard.append(data)
            up.set()

        script = "trap 'sleep 0.2; echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done"
        exits: list[Exit] = []
        with place.engine.open(place.spec) as sandbox:
            command = Command(argv=shell(script), env=PATH)
            thread = threading.Thread(target=lambda: exits.append(sandbox.run(command, sink)))
            thread.start()
            assert up.wait(30)
            sandbox.end(10)
            thread.join(30)
        # The shell itself may say a word about its children, which are of the same group.
        assert (exits, b"".join(heard).split()[-1]) == ([Exit(code=4)], b"bye")

    def test_the_wait_for_ends_has_an_end_itself(self, place: Place) -> None:
        up = threading.Event()
        with place.engine.open(place.spec) as sandbox:
            command = Command(argv=shell("trap '' TERM; echo up; while :; do sleep 0.05; done"), env=PATH)
            thread = threading.Thread(target=lambda: sandbox.run(command, lambda *_: up.set()))
            thread.start()
            assert up.wait(30)
            sandbox.end(0.1)
            assert thread.is_alive()
            sandbox.sweep()
            thread.join(30)
        assert not thread.is_alive()

    def test_each_stream_arrives_whole_and_in_order(self, place: Place) -> None:
        streams: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
        with place.engine.open(place.spec) as sandbox:
            sandbox.run(Command(argv=shell(script), env=PATH), lambda stream, data: streams[stream].extend(data))
        assert streams["stdout"].decode().splitlines() == [f"out {i}" for i in range(2000)]
        assert streams["stderr"].decode().splitlines() == [f"err {i}" for i in range(2000)]

    @pytest.mark.fault("SBX-38")
    def test_much_output_on_both_streams_does_not_block(self, place: Place) -> None:
        counts = {"stdout": 0, "stderr": 0}

        def count(stream: Stream, data: bytes) -> None:
            counts[stream] += len(data)

        script = "head -c 20000000 /dev/zero >&2 & head -c 30000000 /dev/zero; wait"
        with place.engine.open(place.spec) as sandbox:
            assert sandbox.run(Command(argv=shell(script), env=PATH), count).code == 0
        assert counts == {"stdout": 30_000_000, "stderr": 20_000_000}

    @pytest.mark.fault("SBX-39")
    def test_output_is_bytes(self, place: Place) -> None:
        with place.engine.open(place.spec) as sandbox:
            got: list[bytes] = []
            sandbox.run(
                Command(argv=shell(r"printf '\377\000\033]52;c;eA==\007\303'"), env=PATH),
                lambda _, data: got.append(data),
            )
        assert b"".join(got) == b"\xff\x00\x1b]52;c;eA==\x07\xc3"

    def test_two_commands_run_at_once(self, place: Place) -> None:
        # Each waits for the other, so one after the other would never end.
        def meet(mine: str, other: str) -> tuple[Command, OutputSink]:
            script = f"cd {place.layers}; mkfifo {mine}; until [ -p {other} ]; do sleep 0.01; done"
            return Command(argv=shell(script), env=PATH, timeout=20), nothing

        with place.engine.open(place.spec) as sandbox:
            assert [e.code for e in sandbox.run_all([meet("a", "b"), meet("b", "a")])] == [0, 0]

    def test_exits_are_in_the_order_of_the_commands(self, place: Place) -> None:
        commands = [(Command(argv=shell(f"sleep 0.0{9 - i}; exit {i}"), env=PATH), nothing) for i in range(9)]
        with place.engine.open(place.spec) as sandbox:
            assert [e.code for e in sandbox.run_all(commands)] == list(range(9))

    def test_a_time_limit_ends_the_whole_group(self, place: Place) -> None:
        with place.engine.open(place.spec) as sandbox:
            began = time.monotonic()
            ended, _ = run(sandbox, *shell("sleep 60 & sleep 60"), timeout=0.3)
            assert ended.timed_out
            assert ended.code != 0
            assert time.monotonic() - began < 10
            assert run(sandbox, *shell("echo still here"))[1] == "still here\n"

    def test_ctrl_c_ends_the_command_and_the_sandbox(self, place: Place) -> None:
        marker = f"7{os.getpid()}"

        def interrupt(_: Stream, data: bytes) -> None:
            if b"ready" in data:
                os.kill(os.getpid(), signal.SIGINT)

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), place.engine.open(place.spec) as sandbox:
            sandbox.run(Command(argv=shell(f"trap '' TERM; echo ready; sleep {marker}"), env=PATH), interrupt)
        assert time.monotonic() - began < 15
        assert processes(f"sleep\0{marker}") == []

    def test_a_failing_sink_is_the_callers_error(self, place: Place) -> None:
        def full(_: Stream, data: bytes) -> None:
            raise OSError(28, "no space left")

        with pytest.raises(OSError, match="no space left"), place.engine.open(place.spec) as sandbox:
            sandbox.run(Command(argv=shell("echo x; sleep 30"), env=PATH), full)

    @pytest.mark.fault("SBX-36")
    def test_a_daemon_that_holds_the_output_is_not_waited_for(self, place: Place) -> None:
        marker = f"8{os.getpid()}"
        script = f"(trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; sleep {marker}' &) ; echo started"
        with place.engine.open(place.spec) as sandbox:
            began = time.monotonic()
            assert run(sandbox, *shell(script)) == (Exit(code=0), "started\n")
            assert time.monotonic() - began < 10
            assert until(lambda: processes(f"sleep\0{marker}") != [])
            sandbox.sweep()
            assert processes(f"sleep\0{marker}") == []
            assert run(sandbox, *shell("echo again"))[1] == "again\n"

    @pytest.mark.fault("SBX-14")
    def test_nothing_writes_after_the_sandbox_is_closed(self, place: Place) -> None:
        script = "for i in 1 2 3 4; do (trap '' TERM HUP; while :; do echo x >>$i; done) & done; sleep 0.2"
        for _ in range(5):
            with place.engine.open(place.spec) as sandbox:
                run(sandbox, *shell(script), cwd=place.layers)
            sizes = [path.stat().st_size for path in sorted(place.shared.iterdir())]
            assert sizes
            assert min(sizes) > 0
            time.sleep(0.05)
            assert [path.stat().st_size for path in sorted(place.shared.iterdir())] == sizes

    def test_files_made_inside_have_the_same_modes_whatever_the_umask(self, place: Place) -> None:
        before = os.umask(0o077)
        try:
            place.run(*shell("mkdir d; echo x >f"), cwd=place.layers)
        finally:
            os.umask(before)
        assert [path.stat().st_mode & 0o777 for path in sorted(place.shared.iterdir())] == [0o755, 0o644]


@walled
class TestFiles:
    @pytest.mark.fault("SBX-31")
    def test_read_only_mounts_do_not_change(self, place: Place) -> None:
        kept = place.directory / "kept"
        (kept / "bin").mkdir(parents=True)
        (kept / "bin" / "build").write_text("#!/bin/sh\n")
        if AS_ROOT:
            # Even its own files: the mount is what protects them.
            for path in (kept, kept / "bin", kept / "bin" / "build"):
                os.chown(path, 1000, 1000)
        before = tree_hash(kept)
        place.spec = replace(place.spec, mounts=(*place.spec.mounts, Mount(source=str(kept), target="/cnb/buildpacks")))
        assert place.attack("change", "/cnb/buildpacks") == []
        assert tree_hash(kept) == before

    def test_the_root_takes_no_writes_but_home_and_temporary_directories_do(self, place: Place) -> None:
        script = """
            for d in / /etc /usr /run /layers/.. /dev; do (: >$d/file) 2>/dev/null && echo "bad $d"; done
            for d in /tmp /home/cnb /dev/shm /layers; do (: >$d/file) || echo "refused $d"; done
            """
        assert place.run(*shell(script)) == (Exit(code=0), "")
        assert (place.shared / "file").exists()

    @pytest.mark.fault("SBX-12")
    def test_links_at_the_mount_points_lead_nowhere(self, place: Place) -> None:
        victim = place.directory / "victim"
        victim.mkdir()
        base = place.directory / "base"
        (base / "etc").mkdir(exist_ok=True)
        (base / "cnb").symlink_to(victim)
        (base / "layers").symlink_to(f"/oldroot{victim}")
        (base / "home").symlink_to("../../../../../..")
        (base / "etc" / "resolv.conf").symlink_to(f"/oldroot{victim}/resolv.conf")
        (base / "etc" / "hosts").symlink_to("/proc/self/environ")
        (place.directory / "plans").mkdir()
        (place.directory / "plans" / "p").write_text("")
        plans = Mount(source=str(place.directory / "plans"), target="/cnb/plans")
        place.spec = replace(place.spec, mounts=(*place.spec.mounts, plans))
        ended, output = place.run(*shell("exec 2>&1; echo x >/layers/f; echo y >~/g; cat /etc/hosts; ls /cnb/plans"))
        assert ended.code == 0
        assert "127.0.0.1" in output
        assert output.endswith("p\n")
        assert (place.shared / "f").read_text() == "x\n"
        assert list(victim.iterdir()) == []

    def test_a_stack_of_directories_is_one_root_and_none_of_them_changes(self, place: Place) -> None:
        stack = []
        for i in range(12):
            layer = place.directory / f"layer-{i:,}:,x"
            (layer / "opt").mkdir(parents=True)
            (layer / "opt" / "who").write_text(f"{i}\n")
            (layer / "opt" / f"only-{i}").write_text("")
            stack.append(layer)
        place.spec = replace(place.spec, rootfs=(*place.spec.rootfs, *map(str, stack)))
        _, output = place.run(
            *shell("cat /opt/who; ls /opt | wc -l; touch /opt/who 2>/dev/null; rm -r /opt/who 2>/dev/null")
        )
        assert output.split() == ["11", "13"]
        assert [(layer / "opt" / "who").read_text() for layer in stack] == [f"{i}\n" for i in range(12)]

    def test_an_overlay_keeps_changes_apart_from_the_source(self, place: Place) -> None:
        for name in ("lower", "upper", "work"):
            (place.directory / name).mkdir()
        (place.directory / "lower" / "app.py").write_text("old")
        (place.directory / "lower" / "gone").write_text("")
        if AS_ROOT:  # then the application is a mirror that belongs to the build's user
            for path in (place.directory / "lower").rglob("*"):
                os.chown(path, 1000, 1000)
            for name in ("lower", "upper", "work"):
                os.chown(place.directory / name, 1000, 1000)
        if isinstance(place.engine, SandboxEngine) and not place.engine.overlay_supported(str(place.directory)):
            pytest.skip("this file system cannot hold an overlay's changes")
        lower, upper, work = (str(place.directory / name) for name in ("lower", "upper", "work"))
        overlay = Overlay(lower=lower, upper=upper, work=work, target="/workspace")
        place.spec = replace(place.spec, overlays=(overlay,))
        place.run(*shell("echo new >app.py; rm gone; mkdir made"), cwd="/workspace")
        assert (place.directory / "lower" / "app.py").read_text() == "old"
        assert (place.directory / "upper" / "app.py").read_text() == "new\n"
        assert sorted(os.listdir(place.directory / "upper")) == ["app.py", "gone", "made"]

    @pytest.mark.fault("SBX-40")
    def test_names_that_look_like_options_are_names(self, place: Place) -> None:
        odd = place.directory / "--bind" / "/tmp \n,:\\'\"".strip("/")
        odd.mkdir(parents=True)
        (odd / "--version").write_text('#!/bin/sh\necho ran "$@"\n')
        (odd / "--version").chmod(0o755)
        mount = Mount(source=str(odd), target="/--ro-bind")
        place.spec = replace(place.spec, mounts=(*place.spec.mounts, mount))
        assert place.run("/--ro-bind/--version", "--bind", "/", "--") == (Exit(code=0), "ran --bind / --\n")

    def test_a_mount_that_does_not_exist_is_named(self, place: Place) -> None:
        place.spec = replace(place.spec, mounts=(Mount(source="/no/such", target="/x"),))
        with pytest.raises(EngineError, match="/no/such") as caught:
            place.run("/bin/true")
        assert caught.value.slug == "sandbox-mount"


@walled
class TestScratch:
    def test_a_root_takes_writes_and_forgets_them(self, place: Place) -> None:
        (place.directory / "base" / "srv").mkdir(mode=0o777, exist_ok=True)
        (place.directory / "base" / "srv").chmod(0o777)
        spec = replace(place.opened, scratch=True)
        for _ in range(2):
            with place.engine.open(spec) as sandbox:
                ended, said = run(sandbox, *shell("test ! -e /srv/new && echo x > /srv/new && cat /srv/new"))
            assert (ended.code, said) == (0, "x\n")
        assert not (place.directory / "base" / "srv" / "new").exists()


@walled
class TestTrust:
    def test_the_hosts_bundle_and_proxy_are_known_inside(self, place: Place, tmp_path: Path) -> None:
        bundle = tmp_path / "company.pem"
        bundle.write_text("-----BEGIN CERTIFICATE-----\n")
        environ = {"SSL_CERT_FILE": str(bundle), "HTTPS_PROXY": "http://proxy.example:3128"}
        engine = ENGINES[place.engine.name](str(tmp_path / "other"), environ)
        with engine.open(place.spec) as sandbox:
            names = ("PIP_CERT", "SSL_CERT_FILE", "https_proxy", "HTTPS_PROXY", "UV_SYSTEM_CERTS")
            env = {**PATH, **sandbox.trust_env}
            _, output = run(
                sandbox, *shell("cat $PIP_CERT $SSL_CERT_FILE; echo $https_proxy $UV_SYSTEM_CERTS"), env=env
            )
        assert all(name in env for name in names)
        assert output == "-----BEGIN CERTIFICATE-----\n" * 2 + "http://proxy.example:3128 1\n"

    def test_without_trust_there_is_none(self, place: Place) -> None:
        with place.engine.open(replace(place.spec, trust=False)) as sandbox:
            assert dict(sandbox.trust_env) == {}

    @pytest.mark.fault("SBX-33")
    @pytest.mark.fault("SBX-15")
    @pytest.mark.parametrize(("network", "reached"), [("host", 2), ("none", 0)])
    def test_without_a_network_the_host_is_out_of_reach(self, place: Place, network: str, reached: int) -> None:
        name = f"packrunner-test-{os.getpid()}-{time.monotonic_ns()}"
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind("\0" + name)
            abstract.listen()
            place.spec = replace(place.spec, network="host" if network == "host" else "none")
            assert len(place.attack("connect", str(server.getsockname()[1]), name)) == reached


@walled
class TestAttacks:
    @pytest.mark.fault("SBX-22")
    def test_the_agents_file_cannot_be_written(self, place: Place) -> None:
        from packrunner.engines.sandbox import installed_agent

        before = tree_hash(os.path.dirname(installed_agent()))
        assert place.attack("executable") == []
        assert tree_hash(os.path.dirname(installed_agent())) == before
        # As an interpreter the agent is asked to do its own job a second time; it finds no channel.
        (place.shared / "script").write_text("#!/proc/self/exe\n")
        (place.shared / "script").chmod(0o755)
        assert place.run("/layers/script")[0].code != 0

    @pytest.mark.fault("SBX-23")
    def test_no_kernel_setting_can_be_written(self, place: Place) -> None:
        base = place.directory / "base"
        (base / "dev").mkdir()
        (base / "dev" / "null").symlink_to("/proc/sysrq-trigger")
        written = [line.removeprefix("worked: ") for line in place.attack("sysctl")]
        # An ordinary user owns the IPC and PID namespaces it made: these are the sandbox's own, and end with it.
        written = [path for path in written if AS_ROOT or not path.startswith(OWN_SETTINGS)]
        assert written == [], written
        assert place.run(*shell("[ -c /dev/null ] && echo x >/dev/null"))[0].code == 0

    @pytest.mark.fault("SBX-24")
    def test_only_three_descriptors_are_open(self, place: Place) -> None:
        read, write = os.pipe()
        os.set_inheritable(write, True)
        try:
            assert place.attack("descriptors") == []
            assert place.run("/bin/true", cwd="/proc/self/fd/7")[0].code != 0
        finally:
            os.close(read)
            os.close(write)

    @pytest.mark.fault("SBX-25")
    def test_no_input_can_be_pushed_into_a_terminal(self, place: Place) -> None:
        if place.engine.name == "docker":
            pytest.skip("a container is given no terminal, so it has none to push into")
        assert place.attack("terminal") == []

    @pytest.mark.fault("SBX-26")
    @pytest.mark.fault("SBX-27")
    def test_the_agent_is_out_of_reach(self, place: Place) -> None:
        assert place.attack("agent") == []

    @pytest.mark.fault("SBX-27")
    def test_printed_frames_are_output(self, place: Place) -> None:
        frame = 'X\\000\\000\\000\\001\\000\\000\\000\\012{"code":0}'
        ended, output = place.run(*shell(f"printf '{frame}'; printf '{frame}' >&2; exit 7"))
        assert ended == Exit(code=7)
        assert output.count('{"code":0}') == 2

    @pytest.mark.fault("SBX-32")
    def test_the_callers_secrets_are_nowhere_inside(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        canary = f"canary-{os.urandom(8).hex()}"
        monkeypatch.setenv("REGISTRY_PASSWORD", canary)
        monkeypatch.setenv("SSH_AUTH_SOCK", f"/tmp/{canary}")
        (place.directory / canary).write_text(canary)
        assert place.attack("search", canary) == []
        _, output = place.run(*shell("ls /var/run/docker.sock /run/docker.sock /root /run/secrets 2>/dev/null"))
        assert "sock" not in output

    @pytest.mark.fault("SBX-35")
    def test_processes_are_bounded_and_the_sandbox_ends_well(self, place: Place) -> None:
        most = max(4096, 256 * (os.cpu_count() or 1))
        with place.engine.open(place.spec) as sandbox:
            ended, output = run(sandbox, PYTHON, "-I", "/attack/attacker.py", "multiply", str(most + 100))
            assert (ended.code, output.splitlines()[-1]) == (0, "done"), output
            assert output.startswith("refused after ")
            # The agent still starts programs, once the others are gone.
            sandbox.sweep()
            assert run(sandbox, *shell("echo alive"))[1] == "alive\n"

    @pytest.mark.fault("SBX-34")
    def test_no_namespace_can_be_made(self, place: Place) -> None:
        assert place.attack("namespaces") == []

    @pytest.mark.fault("SBX-32")
    def test_the_callers_key_ring_is_out_of_reach(self, place: Place) -> None:
        assert place.attack("keys") == []

    def test_there_is_no_way_back_to_root(self, place: Place) -> None:
        assert place.attack("root") == []

    @pytest.mark.skipif(not AS_ROOT, reason="only root could read such a file anywhere")
    def test_a_file_that_only_root_may_read_stays_unread(self, place: Place) -> None:
        if place.engine.name == "docker":
            pytest.skip("a container is shown no single files")
        secret = place.directory / "secret"
        secret.write_text("x")
        secret.chmod(0o600)
        place.spec = replace(place.spec, mounts=(*place.spec.mounts, Mount(source=str(secret), target="/secret")))
        assert place.attack("read", "/secret") == []
        secret.chmod(0o644)
        assert place.attack("read", "/secret") == ["worked: read /secret"]


CHILD = """
import os, sys, time
sys.path.insert(0, {tests!r})
from tests.contract.test_engines import ENGINES
from packrunner.images.image import *
from packrunner.engines.base import Command, Mount, SandboxSpec, User
spec = {spec!r}
with ENGINES[{engine!r}]({state!r}, {{}}).open(spec) as sandbox:
    argv = ("/bin/sh", "-c", "trap '' TERM HUP INT; echo up; sleep {marker}")
    sandbox.run(Command(argv=argv, env={{"PATH": "/usr/bin:/bin"}}), lambda _, data: os.write(1, data))
"""


class TestEnds:
    @pytest.mark.fault("SBX-37")
    @pytest.mark.fault("PRO-08")
    def test_nothing_survives_a_killed_packrunner(self, place: Place) -> None:
        marker = f"9{os.getpid()}"
        code = CHILD.format(
            tests=os.path.dirname(os.path.dirname(HERE)),
            spec=place.spec,
            engine=place.engine.name,
            state=str(place.directory / "state"),
            marker=marker,
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            try:
                assert child.stdout
                assert child.stdout.readline() == b"up\n"
                assert until(lambda: processes(f"sleep\0{marker}") != [])
            finally:
                child.kill()
                child.wait()
            assert until(lambda: processes(f"sleep\0{marker}") == [] and processes(str(place.directory)) == [], 2.0)
        # What an engine still has of it, the next start removes; the fixture sees to that.
        fresh = ENGINES[place.engine.name](str(place.directory / "state"), os.environ)
        with fresh.open(place.spec) as sandbox:
            run(sandbox, "/bin/true")

    @pytest.mark.fault("SBX-37")
    def test_the_end_of_the_thread_that_opened_it_ends_nothing(self, place: Place) -> None:
        opened: list[Sandbox] = []
        context = place.engine.open(place.spec)
        thread = threading.Thread(target=lambda: opened.append(context.__enter__()))
        thread.start()
        thread.join()
        time.sleep(0.1)
        try:
            assert run(opened[0], *shell("echo alive"))[1] == "alive\n"
        finally:
            context.__exit__(None, None, None)

    @pytest.mark.fault("SBX-29")
    def test_an_end_without_a_report_is_never_a_success(self, place: Place) -> None:
        def murder(_: Stream, data: bytes) -> None:
            # From outside, as the kernel does it when memory is short: the sandbox's first process.
            os.kill(first_process(place), signal.SIGKILL)

        with pytest.raises(EngineError) as caught, place.engine.open(place.spec) as sandbox:
            sandbox.run(Command(argv=shell("echo up; sleep 30"), env=PATH), murder)
        assert caught.value.slug == "sandbox-died"
        assert caught.value.exit_code == 13

    def test_a_broken_sandbox_stays_broken(self, place: Place) -> None:
        with place.engine.open(place.spec) as sandbox:
            os.kill(first_process(place), signal.SIGKILL)
            for _ in range(2):
                with pytest.raises(EngineError) as caught:
                    run(sandbox, "/bin/true")
                assert caught.value.slug == "sandbox-died"
            with pytest.raises(EngineError):
                sandbox.sweep()

    def test_closing_ends_what_still_runs(self, place: Place) -> None:
        marker = f"6{os.getpid()}"
        with place.engine.open(place.spec) as sandbox:
            run(sandbox, *shell(f"setsid sleep {marker} >/dev/null 2>&1 & echo"))
            assert until(lambda: processes(f"sleep\0{marker}") != [])
        assert processes(f"sleep\0{marker}") == []

    def test_descriptors_and_threads_are_given_back(self, place: Place) -> None:
        def once() -> None:
            with place.engine.open(place.spec) as sandbox:
                run(sandbox, "/bin/true")
            if isinstance(place.engine, DockerEngine):
                place.engine.close()

        for _ in range(3):  # an engine's connections are kept for the next question
            once()
        before = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(3):
            once()
        assert len(os.listdir("/proc/self/fd")) <= before[0]
        assert threading.active_count() <= before[1]


def tree_hash(top: str | Path) -> str:
    """Names, modes and contents of a tree."""
    digest = hashlib.sha256()
    for directory, names, files in sorted(os.walk(top)):
        for name in sorted((*names, *files)):
            path = os.path.join(directory, name)
            digest.update(f"{path} {os.lstat(path).st_mode} {os.lstat(path).st_mtime_ns}\n".encode())
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


class TestInline:
    """What an engine without walls refuses, rather than promise it."""

    @pytest.mark.parametrize("place", ["inline"], indirect=True)
    def test_what_would_have_to_be_mounted_is_named(self, place: Place) -> None:
        place.spec = replace(place.spec, mounts=(Mount(source=str(place.shared), target="/layers"),))
        with pytest.raises(EngineError, match="inline") as caught:
            place.run("/bin/true")
        assert caught.value.slug == "inline-place"
        assert str(place.shared) in str(caught.value.cause)

    @pytest.mark.cnb("DET-01")
    @pytest.mark.parametrize("place", ["inline"], indirect=True)
    def test_nothing_runs_as_root(self, place: Place) -> None:
        place.spec = replace(place.spec, user=User(uid=0, gid=0))
        with pytest.raises(EngineError, match="root") as caught:
            place.run("/bin/true")
        assert caught.value.slug == "sandbox-user"
