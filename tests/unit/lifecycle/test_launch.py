"""Processes merged over buildpacks, and metadata.toml."""

from __future__ import annotations

import tomllib

import pytest

from packrunner.formats import toml
from packrunner.formats.api import buildpack_features
from packrunner.formats.group import GroupMember
from packrunner.formats.layer import Label, LaunchFile, Process, Slice, read_launch
from packrunner.lifecycle import launch

A = GroupMember(id="acme/a", version="1.0.0", api="0.12", homepage="https://example.com/a")
B = GroupMember(id="acme/b", version="2.0.0", api="0.10")


def process(kind: str, *command: str, default: bool = False, env: tuple[str, ...] = ()) -> Process:
    return Process(type=kind, command=command or (kind,), default=default, exec_env=env)


@pytest.mark.cnb("BLD-14")
def test_a_later_definition_replaces_and_the_last_default_wins() -> None:
    merged = launch.merge(
        [
            (A, LaunchFile(processes=(process("web", "a", default=True), process("worker")))),
            (B, LaunchFile(processes=(process("web", "b"), process("cron", default=True)))),
        ]
    )
    assert [(p.type, p.command, p.buildpack_id) for p in merged.processes] == [
        ("cron", ("cron",), "acme/b"),
        ("web", ("b",), "acme/b"),
        ("worker", ("worker",), "acme/a"),
    ]
    assert merged.default == "cron"
    assert merged.warning == ""


@pytest.mark.cnb("BLD-14")
def test_redefining_the_default_without_default_leaves_none_and_warns() -> None:
    merged = launch.merge(
        [
            (A, LaunchFile(processes=(process("web", default=True),))),
            (B, LaunchFile(processes=(process("web", "other"),))),
        ]
    )
    assert merged.default == ""
    assert "web" in merged.warning


def test_a_definition_for_another_environment_goes_in_front_instead_of_replacing() -> None:
    merged = launch.merge(
        [
            (A, LaunchFile(processes=(process("web", "prod"), process("web", "old-dev", env=("development",))))),
            (B, LaunchFile(processes=(process("web", "dev", env=("development",)),))),
        ]
    )
    assert [(p.command, p.exec_env) for p in merged.processes] == [(("dev",), ("development",)), (("prod",), ("*",))]


@pytest.mark.cnb("BLD-14")
def test_a_type_for_two_environments_in_one_file_keeps_its_default() -> None:
    both = LaunchFile(processes=(process("web", default=True), process("web", "dev", env=("development",))))
    merged = launch.merge([(A, both)])
    assert (merged.default, merged.warning) == ("web", "")


@pytest.mark.cnb("BLD-15")
@pytest.mark.cnb("BLD-16")
def test_metadata_toml() -> None:
    file = LaunchFile(
        processes=(Process(type="web", command=("run", "it"), args=("-x",), default=True, working_dir="sub"),),
        labels=(Label(key="k", value="v"),),
        slices=(Slice(paths=("static/*",)),),
    )
    written = tomllib.loads(toml.encode(launch.metadata((A, B), [(A, file), (B, LaunchFile())])).decode())
    assert written == {
        "buildpack-default-process-type": "web",
        "buildpacks": [
            {"id": "acme/a", "version": "1.0.0", "api": "0.12", "homepage": "https://example.com/a"},
            {"id": "acme/b", "version": "2.0.0", "api": "0.10"},
        ],
        "processes": [
            {
                "type": "web",
                "command": ["run", "it"],
                "args": ["-x"],
                "direct": True,
                "buildpack-id": "acme/a",
                "working-dir": "sub",
                "exec-env": ["*"],
            }
        ],
        "labels": [{"key": "k", "value": "v"}],
        "slices": [{"paths": ["static/*"]}],
    }


@pytest.mark.cnb("BLD-11")
def test_old_processes_are_shell_processes() -> None:
    file = read_launch(
        b'[[processes]]\ntype = "web"\ncommand = "run it"\nworking-dir = "x"',
        where="launch.toml",
        features=buildpack_features("0.7"),
    )
    (found,) = launch.merge([(GroupMember(id="o", version="1.0.0", api="0.7"), file)]).processes
    assert (found.command, found.direct, found.working_dir) == (("run it",), False, "")
