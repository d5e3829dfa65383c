"""The layer on top of every sandbox's root."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.engines.skeleton import AGENT, Skeleton, held_skeleton

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def agent(tmp_path: Path) -> str:
    path = tmp_path / "agent"
    path.write_bytes(b"binary")
    return str(path)


def skeletons(state: Path) -> list[str]:
    return sorted(set(os.listdir(state / "skeletons")) - {"lock"})


def test_what_it_holds_whatever_the_umask(tmp_path: Path, agent: str) -> None:
    before = os.umask(0o077)
    try:
        wanted = Skeleton(
            directories=frozenset({"/layers", "/cnb/plans"}), files={"/etc/hosts": b"x", "/f": b""}, agent=agent
        )
        with held_skeleton(str(tmp_path / "state"), wanted) as top:
            found = {
                os.path.join(directory, name).removeprefix(top): os.lstat(os.path.join(directory, name)).st_mode & 0o777
                for directory, names, files in os.walk(top)
                for name in (*names, *files)
            }
    finally:
        os.umask(before)
    directories = ("/layers", "/cnb", "/cnb/plans", "/etc", "/run", "/run/packrunner")
    assert found == {**dict.fromkeys(directories, 0o755), "/etc/hosts": 0o644, "/f": 0o644, AGENT: 0o755}
    assert (tmp_path / "state" / "skeletons").stat().st_mode & 0o777 == 0o700


@pytest.mark.fault("SBX-22")
def test_the_agent_is_a_copy(tmp_path: Path, agent: str) -> None:
    with held_skeleton(str(tmp_path / "state"), Skeleton(directories=frozenset(), agent=agent)) as top:
        assert not os.path.samefile(top + AGENT, agent)
        with open(top + AGENT, "rb") as file:
            assert file.read() == b"binary"


def test_equal_ones_are_made_once_and_others_apart(tmp_path: Path, agent: str) -> None:
    state = tmp_path / "state"

    def path(files: dict[str, bytes], *directories: str) -> str:
        with held_skeleton(str(state), Skeleton(directories=frozenset(directories), files=files, agent=agent)) as top:
            return top

    first = path({"/etc/hosts": b"1"}, "/layers")
    assert path({"/etc/hosts": b"1"}, "/layers") == first
    others = {path({"/etc/hosts": b"2"}, "/layers"), path({}, "/layers"), path({"/etc/hosts": b"1"}, "/workspace")}
    assert len(others | {first}) == 4
    with open(agent, "ab") as file:
        file.write(b"newer")
    assert path({"/etc/hosts": b"1"}, "/layers") != first
    assert len(skeletons(state)) == 5


def test_old_ones_go_unless_a_sandbox_holds_them(tmp_path: Path, agent: str) -> None:
    state = tmp_path / "state"

    def skeleton(name: str) -> Skeleton:
        return Skeleton(directories=frozenset({name}), agent=agent)

    with held_skeleton(str(state), skeleton("/unused")) as top:
        unused = os.path.dirname(top)
    with held_skeleton(str(state), skeleton("/held")) as top:
        for path in (unused, os.path.dirname(top)):
            os.utime(path, (time.time() - 90_000,) * 2)
        with held_skeleton(str(state), skeleton("/new")):
            assert os.path.isdir(top)
            assert not os.path.exists(unused)


def test_many_at_once_make_one(tmp_path: Path, agent: str) -> None:
    state = tmp_path / "state"
    made: list[str] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        with held_skeleton(str(state), Skeleton(directories=frozenset({"/layers"}), agent=agent)) as top:
            made.append(top)
            assert os.path.isfile(top + AGENT)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert len(made) == 8
    assert len(skeletons(state)) == 1


@pytest.mark.fault("PRO-08")
def test_what_a_killed_packrunner_left_is_no_obstacle(tmp_path: Path, agent: str) -> None:
    state = tmp_path / "state"
    half = state / "skeletons" / ".packrunner-0123456789ab-skeleton"
    half.mkdir(parents=True)
    os.utime(half, (time.time() - 90_000,) * 2)
    with held_skeleton(str(state), Skeleton(directories=frozenset({"/layers"}), agent=agent)) as top:
        assert os.path.isdir(top)
    assert not half.exists()
