"""Pure parts of the engine `docker`: what a container is made of, which volumes there are, whose it is."""

from __future__ import annotations

import os
from typing import Any

import pytest
from msgspec.structs import replace

from packrunner.engines.base import Mount, Overlay, SandboxSpec, User
from packrunner.engines.docker import leftovers
from packrunner.engines.docker.container import Volume, agent_volume, container_config, memory, volumes

SPEC = SandboxSpec(
    rootfs=("/base",),
    user=User(uid=1001, gid=1002, home="/home/cnb"),
    mounts=(
        Mount(source="/ws/layers", target="/layers", writable=True),
        Mount(source="/ws/platform", target="/platform"),
        Mount(source="/stage/abc", target="/cnb/buildpacks", content="abc"),
    ),
    overlays=(Overlay(lower="/app", upper="/ws/upper", work="/ws/work", target="/workspace"),),
)


def config(spec: SandboxSpec = SPEC, network: str = "") -> dict[str, Any]:
    return container_config(
        spec,
        image="packrunner.local/build:1",
        volumes=(agent_volume("agent", read_only=True), *volumes(spec, "machine")),
        labels={"io.packrunner.pid": "7"},
        network=network,
    )


@pytest.mark.fault("SBX-22")
@pytest.mark.fault("SBX-23")
def test_a_container_has_no_more_rights_than_the_agent_needs_to_give_them_up() -> None:
    host = config()["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["CHOWN", "SETGID", "SETPCAP", "SETUID"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["ReadonlyRootfs"], host["Privileged"]) == (True, False)
    assert "Binds" not in host
    assert {mount["Type"] for mount in host["Mounts"]} == {"volume"}


def test_a_root_for_an_application_takes_writes_and_its_ports_are_this_machines_alone() -> None:
    made = config(replace(SPEC, scratch=True, publish=((8080, 8000),)))
    assert made["HostConfig"]["ReadonlyRootfs"] is False
    assert made["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert made["ExposedPorts"] == {"8000/tcp": {}}


def test_the_first_process_is_the_agent_and_ends_with_its_input() -> None:
    made = config()
    entrypoint = made["Entrypoint"]
    assert entrypoint[:2] == ["/run/packrunner/agent", "serve"]
    assert entrypoint[2:] == ["--uid", "1001", "--gid", "1002", "--drop", "--prepare"]
    assert (made["Cmd"], made["User"], made["Tty"]) == ([], "0:0", False)
    assert made["OpenStdin"] is made["StdinOnce"] is made["AttachStdin"] is True


@pytest.mark.parametrize(
    ("spec", "network", "mode"),
    [("host", "", "default"), ("host", "host", "host"), ("host", "company", "company"), ("none", "host", "none")],
)
@pytest.mark.fault("SBX-33")
def test_the_network(spec: str, network: str, mode: str) -> None:
    made = config(replace(SPEC, network=spec), network)
    assert made["HostConfig"]["NetworkMode"] == mode


def test_what_is_written_and_what_is_known_is_in_volumes_and_the_rest_in_memory() -> None:
    found = {volume.target: volume.name for volume in volumes(SPEC, "machine")}
    assert set(found) == {"/layers", "/cnb/buildpacks", "/workspace"}
    assert {name.split("-")[1] for name in found.values()} == {"work", "content"}
    assert set(memory(SPEC)) == {"/tmp", "/home/cnb", "/platform"}
    assert "mode=0755" in memory(SPEC)["/platform"]


def test_volumes_are_the_same_for_the_same_directory_of_the_same_machine_only() -> None:
    def names(spec: SandboxSpec, machine: str) -> dict[str, str]:
        return {volume.target: volume.name for volume in volumes(spec, machine)}

    first = names(SPEC, "machine")
    assert names(replace(SPEC, user=User()), "machine") == first
    other = names(SPEC, "another")
    assert (other["/layers"] != first["/layers"], other["/cnb/buildpacks"]) == (True, first["/cnb/buildpacks"])
    moved = replace(SPEC, mounts=(Mount(source="/elsewhere", target="/layers", writable=True),), overlays=())
    assert names(moved, "machine")["/layers"] != first["/layers"]
    changed = replace(SPEC, mounts=(Mount(source="/stage/abc", target="/cnb/buildpacks", content="abd"),), overlays=())
    assert names(changed, "machine")["/cnb/buildpacks"] != first["/cnb/buildpacks"]


def test_a_home_inside_of_a_mount_is_not_covered() -> None:
    assert set(memory(replace(SPEC, user=User(home="/layers/home")))) == {"/tmp", "/platform"}


def test_a_volume_that_was_filled_is_read_only() -> None:
    assert agent_volume("x", read_only=True).read_only
    assert not agent_volume("x", read_only=False).read_only
    assert isinstance(agent_volume("x", read_only=True), Volume)


def test_containers_belong_to_processes() -> None:
    mine = leftovers.owner().labels()
    assert leftovers.is_alive(mine)
    assert not leftovers.is_alive({**mine, "io.packrunner.started": "1"})
    assert not leftovers.is_alive({**mine, "io.packrunner.pid": "4194303"})
    # What says nothing is left alone.
    assert leftovers.is_alive({})
    assert leftovers.is_alive({"io.packrunner.pid": "../../etc", "io.packrunner.started": "1"})
    assert mine["io.packrunner.pid"] == str(os.getpid())


class Api:
    """The questions that `sweep` asks."""

    def __init__(self, containers: list[dict[str, Any]]) -> None:
        self.found = containers
        self.removed: list[str] = []
        self.filters: dict[str, str] = {}

    def containers(self, *, all: bool, filters: dict[str, str]) -> list[dict[str, Any]]:  # noqa: A002
        assert all
        self.filters = filters
        return self.found

    def remove_container(self, name: str, *, v: bool, force: bool) -> None:
        assert v
        assert force
        self.removed.append(name)


@pytest.mark.fault("PRO-08")
def test_only_what_killed_processes_of_this_machine_left_is_removed() -> None:
    mine = leftovers.owner().labels()
    api = Api([{"Id": "alive", "Labels": mine}, {"Id": "dead", "Labels": {**mine, "io.packrunner.pid": "4194303"}}])
    assert leftovers.sweep(api, "here") == 1
    assert api.removed == ["dead"]
    assert api.filters == {"label": "io.packrunner.machine=here"}
