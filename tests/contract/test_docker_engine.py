"""What only the engine `docker` has: an engine that others use and that can go away, and files on two sides."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner.engines.base import Command, Mount, Overlay
from packrunner.engines.docker import DockerEngine, upkeep
from packrunner.engines.docker.image import REPOSITORY
from packrunner.errors import EngineError, UnsafeArchiveError
from packrunner.images.daemon import Daemon
from packrunner.images.dockerd import Dockerd, find_host
from packrunner.images.store import LocalStore
from tests.contract.test_engines import PATH, Place, connection, nothing, place, programs, run, shell, until
from tests.services import DockerService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.engines.base import Stream

__all__ = ["place", "programs"]

pytestmark = [pytest.mark.docker, pytest.mark.parametrize("place", ["docker"], indirect=True)]


@pytest.fixture
def mortal() -> Iterator[DockerService]:
    """A Docker engine that its test may kill."""
    with tempfile.TemporaryDirectory(prefix="packrunner-mortal-") as root:
        service = DockerService(Path(root))
        try:
            service.start()
            yield service
        finally:
            service.stop()


class TestEnds:
    @pytest.mark.fault("K8S-12")
    def test_an_engine_that_dies_during_a_command(self, place: Place, mortal: DockerService) -> None:
        connected = Dockerd(find_host({}, mortal.host))
        store = LocalStore(os.environ["TEST_STORE"])
        engine = DockerEngine(Daemon(connected), store, str(place.directory / "other"), environ={}, network="host")
        heard = bytearray()

        def murder(_: Stream, data: bytes) -> None:
            heard.extend(data)
            if heard.endswith(b"last words\n"):
                mortal.kill()

        with pytest.raises(EngineError) as caught, engine.open(place.spec) as sandbox:
            sandbox.run(
                Command(
                    argv=shell("i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i; done; echo last words; sleep 30"),
                    env=PATH,
                ),
                murder,
            )
        assert bytes(heard).splitlines() == [b"%d" % i for i in range(1, 501)] + [b"last words"]
        assert caught.value.slug == "sandbox-died"
        assert caught.value.exit_code == 13
        assert "the Docker engine" in str(caught.value.cause)
        engine.close()
        # Its container is still there when the engine is back; whoever made it lives, so it has to say who is meant.
        mortal.start()
        left = connected.api.containers(all=True)
        assert [one["Labels"]["io.packrunner.pid"] for one in left] == [str(os.getpid())]
        for one in left:
            connected.api.remove_container(one["Id"], force=True, v=True)
        connected.close()

    @pytest.mark.fault("K8S-12")
    def test_a_container_that_ends_at_once_says_why(self, place: Place) -> None:
        broken = place.directory / "broken"
        broken.write_text("#!/bin/sh\necho the library is missing >&2\nexit 3\n")
        broken.chmod(0o755)
        engine = DockerEngine(
            Daemon(connection(os.environ["DOCKER_HOST"])),
            LocalStore(os.environ["TEST_STORE"]),
            str(place.directory / "state"),
            environ={},
            agent=str(broken),
        )
        with pytest.raises(EngineError) as caught, engine.open(place.spec):
            pass
        engine.close()
        assert caught.value.slug == "sandbox-died"
        assert caught.value.cause == "the container ended with 3"
        assert caught.value.foreign == ("the library is missing",)

    def test_what_a_killed_packrunner_left_is_removed_at_the_next_start(self, place: Place) -> None:
        client = connection(os.environ["DOCKER_HOST"]).api
        assert isinstance(place.engine, DockerEngine)
        with place.engine.open(place.spec):
            (mine,) = client.containers(all=True)
        place.engine.close()
        labels = mine["Labels"]
        gone = client.create_container(mine["Image"], ["/bin/true"], labels={**labels, "io.packrunner.pid": "4194303"})
        started = client.create_container(mine["Image"], ["/bin/true"], labels={**labels, "io.packrunner.started": "1"})
        other = client.create_container(mine["Image"], ["/bin/true"], labels={"io.packrunner.machine": "another"})
        alive = client.create_container(mine["Image"], ["/bin/true"], labels=labels)
        fresh = DockerEngine(
            Daemon(connection(os.environ["DOCKER_HOST"])), LocalStore(""), str(place.directory / "state"), environ={}
        )
        with fresh.open(place.spec):
            left = {one["Id"] for one in client.containers(all=True)}
        fresh.close()
        assert {gone["Id"], started["Id"]}.isdisjoint(left)
        assert {other["Id"], alive["Id"]} <= left
        for one in (other, alive):
            client.remove_container(one["Id"])


class TestPruned:
    @pytest.mark.fault("K8S-14")
    def test_a_build_image_that_was_pruned_is_sent_again(self, place: Place) -> None:
        client = connection(os.environ["DOCKER_HOST"]).api
        assert place.run(*shell("echo one"))[1] == "one\n"
        assert isinstance(place.engine, DockerEngine)
        place.engine.close()
        for image in client.images():
            client.remove_image(image["Id"], force=True)
        assert place.run(*shell("echo two"))[1] == "two\n"

    @pytest.mark.fault("K8S-14")
    def test_volumes_that_were_pruned_are_filled_again(self, place: Place) -> None:
        client = connection(os.environ["DOCKER_HOST"]).api
        kept = place.directory / "kept"
        kept.mkdir()
        (kept / "file").write_text("content")
        place.spec = replace(
            place.spec, mounts=(*place.spec.mounts, Mount(source=str(kept), target="/kept", content="name of it"))
        )
        (place.shared / "mine").write_text("here")
        for _ in range(2):
            assert place.run(*shell("cat /kept/file /layers/mine"))[1] == "contenthere"
            assert isinstance(place.engine, DockerEngine)
            place.engine.close()
            for volume in client.volumes()["Volumes"]:
                client.remove_volume(volume["Name"], force=True)

    def test_known_content_is_sent_once(self, place: Place) -> None:
        kept = place.directory / "kept"
        kept.mkdir()
        (kept / "file").write_text("old")
        mount = Mount(source=str(kept), target="/kept", content=f"{place.directory}")
        place.spec = replace(place.spec, mounts=(*place.spec.mounts, mount))
        assert place.run(*shell("cat /kept/file"))[1] == "old"
        # Against the rule, to see that nobody looks.
        (kept / "file").write_text("new")
        assert place.run(*shell("cat /kept/file"))[1] == "old"
        place.spec = replace(place.spec, mounts=(*place.spec.mounts[:-1], replace(mount, content="")))
        assert place.run(*shell("cat /kept/file"))[1] == "new"


class TestUpkeep:
    def volumes(self) -> set[str]:
        client = connection(os.environ["DOCKER_HOST"]).api
        return {volume["Name"] for volume in client.volumes()["Volumes"] if volume["Name"].startswith("packrunner-")}

    def images(self) -> set[str]:
        client = connection(os.environ["DOCKER_HOST"]).api
        return {name for image in client.images() for name in image["RepoTags"] or () if REPOSITORY in name}

    def test_what_was_not_used_lately_is_pruned(self, place: Place) -> None:
        daemon, state = Daemon(connection(os.environ["DOCKER_HOST"])), str(place.directory / "state")
        client = daemon.api
        upkeep.prune(daemon, str(place.directory / "none"), everything=True, dry_run=False)
        assert (self.volumes(), self.images()) == (set(), set())
        theirs = client.create_volume(name=f"theirs-{os.getpid()}")["Name"]
        (place.shared / "file").write_text("x" * 10_000)
        place.run("/bin/true")
        assert isinstance(place.engine, DockerEngine)
        place.engine.close()
        before = self.volumes(), self.images()
        assert [len(found) for found in before] == [2, 1]
        assert upkeep.prune(daemon, state, everything=False, dry_run=False) == 0
        assert (self.volumes(), self.images()) == before
        for name in os.listdir(state):
            os.utime(os.path.join(state, name), (0, 0))
        would = upkeep.prune(daemon, state, everything=False, dry_run=True)
        assert would > 10_000
        assert (self.volumes(), self.images()) == before
        assert upkeep.prune(daemon, state, everything=False, dry_run=False) == would
        assert (self.volumes(), self.images()) == (set(), set())
        client.remove_volume(theirs)
        assert place.run(*shell("wc -c </layers/file"))[1].strip() == "10000"

    def test_what_is_in_use_stays(self, place: Place) -> None:
        daemon = Daemon(connection(os.environ["DOCKER_HOST"]))
        with place.engine.open(place.spec) as sandbox:
            upkeep.prune(daemon, str(place.directory / "state"), everything=True, dry_run=False)
            assert run(sandbox, *shell("echo here"))[1] == "here\n"
            assert len(self.volumes()) == 2


class TestPlaces:
    def test_what_changes_on_either_side_is_on_both(self, place: Place) -> None:
        (place.shared / "kept").write_text("kept")
        (place.shared / "folder").mkdir()
        (place.shared / "folder" / "below").write_text("below")
        (place.shared / "link").symlink_to("kept")
        os.chmod(place.shared / "kept", 0o640)
        for path in (place.shared, *place.shared.rglob("*")):
            os.chown(path, 1000, 1000, follow_symlinks=False)
        script = """
            cd /layers; stat -c '%a %N' kept link; cat folder/below
            echo more >>kept; rm -r folder; ln -sfn /etc/passwd link; mkdir -p a/b; echo x >a/b/c; chmod 500 a/b
            """
        with place.engine.open(place.spec) as sandbox:
            _, output = run(sandbox, *shell(script))
            sandbox.sweep()
            sandbox.fetch("/layers/a")
            assert (place.shared / "a" / "b" / "c").read_text() == "x\n"
            assert (place.shared / "kept").read_text() == "kept"
            sandbox.fetch("/layers")
            assert (place.shared / "kept").read_text() == "keptmore\n"
            (place.shared / "kept").write_text("from here")
            (place.shared / "a" / "b").chmod(0o700)
            (place.shared / "a" / "b" / "c").unlink()
            sandbox.send("/layers")
            assert run(sandbox, *shell("cat /layers/kept; ls /layers/a/b"))[1] == "from here"
        assert output.splitlines() == ["640 'kept'", "777 'link' -> 'kept'", "below"]
        assert not (place.shared / "folder").exists()
        assert os.readlink(place.shared / "link") == "/etc/passwd"
        assert (place.shared / "link").lstat().st_uid == 1000
        assert stat.S_IMODE((place.shared / "a" / "b").stat().st_mode) == 0o700

    def test_what_was_left_inside_is_made_good_the_next_time(self, place: Place) -> None:
        (place.shared / "file").write_text("right")

        def stop(_: Stream, data: bytes) -> None:
            raise ValueError("stop")

        command = Command(argv=shell("echo wrong >/layers/file; echo x >/layers/extra; echo done"), env=PATH)
        with pytest.raises(ValueError, match="stop"), place.engine.open(place.spec) as sandbox:
            sandbox.run(command, stop)
        assert sorted(os.listdir(place.shared)) == ["file"]
        assert place.run(*shell("cat /layers/file; ls /layers"))[1] == "rightfile\n"

    def test_an_application_is_new_each_time_and_its_changes_are_beside_it(self, place: Place) -> None:
        lower, upper, work = (place.directory / name for name in ("lower", "upper", "work"))
        for folder in (lower, upper, work):
            folder.mkdir()
        for name in ("app.py", "gone", "hidden"):
            (lower / name).write_text(name)
        (lower / "folder").mkdir(mode=0o750)
        (lower / "folder" / "inner").write_text("inner")
        os.mknod(upper / "hidden", stat.S_IFCHR, os.makedev(0, 0))
        overlay = Overlay(lower=str(lower), upper=str(upper), work=str(work), target="/workspace")
        place.spec = replace(place.spec, overlays=(overlay,))
        script = "ls; cat app.py; echo new >app.py; rm gone folder/inner; mkdir made; mkfifo pipe"
        expected = "app.py\nfolder\ngone\napp.py"
        assert place.run(*shell(script), cwd="/workspace")[1] == expected
        assert (upper / "app.py").read_text() == "new\n"
        assert stat.S_ISCHR((upper / "gone").lstat().st_mode)
        assert stat.S_ISCHR((upper / "folder" / "inner").lstat().st_mode)
        assert stat.S_IMODE((upper / "folder").stat().st_mode) == 0o750
        assert stat.S_ISFIFO((upper / "pipe").lstat().st_mode)
        assert sorted(os.listdir(lower)) == ["app.py", "folder", "gone", "hidden"]
        for name in ("app.py", "gone", "pipe"):
            (upper / name).unlink()
        (upper / "made").rmdir()
        (upper / "folder" / "inner").unlink()
        (upper / "folder").rmdir()
        assert place.run(*shell(script), cwd="/workspace")[1] == expected

    @pytest.mark.fault("K8S-13")
    def test_links_that_a_program_plants_lead_nowhere_here(self, place: Place) -> None:
        victim = place.directory / "victim"
        victim.mkdir()
        (victim / "file").write_text("safe")
        (place.shared / "folder").mkdir()
        (place.shared / "folder" / "file").write_text("mine")
        for path in (place.shared / "folder", place.shared / "folder" / "file"):
            os.chown(path, 1000, 1000)
        script = f"""
            cd /layers; rm -r folder; ln -s {victim} folder; mkdir other; ln -s {victim}/new other/link
            while :; do mv folder other/folder; mv other/folder folder; done &
            """
        with place.engine.open(place.spec) as sandbox:
            run(sandbox, *shell(script))
            sandbox.sweep()
            sandbox.fetch("/layers")
            (place.shared / "other" / "mine").write_text("x")
            sandbox.send("/layers")
        assert {path.name: path.read_text() for path in victim.iterdir()} == {"file": "safe"}

    def test_what_ends_badly_is_no_success(self, place: Place) -> None:
        # A name that only layers' whiteouts have: refused as in every archive, not silently dropped.
        with pytest.raises(UnsafeArchiveError), place.engine.open(place.spec) as sandbox:
            run(sandbox, *shell("echo x >/layers/.wh.file"))


def test_an_ended_container_is_removed(place: Place) -> None:
    with place.engine.open(place.spec) as sandbox:
        sandbox.run(Command(argv=("/bin/true",), env=PATH), nothing)
    client = connection(os.environ["DOCKER_HOST"]).api
    assert until(lambda: client.containers(all=True) == [])
