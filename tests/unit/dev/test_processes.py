"""Which processes are started for development, and how."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.dev import processes
from packrunner.errors import LaunchError
from packrunner.formats import labels
from packrunner.images.image import Image

if TYPE_CHECKING:
    from pathlib import Path


def image(*types: tuple[str, str], default: str = "") -> Image:
    listed = [
        {"type": kind, "command": [kind], "args": [], "direct": True, "buildpackID": buildpack}
        for kind, buildpack in types
    ]
    build: dict[str, Any] = {
        "buildpacks": [],
        "launcher": {"version": "", "source": {"git": {"repository": "", "commit": ""}}},
        "processes": listed,
        "buildpack-default-process-type": default,
    }
    return Image(
        env=(("PATH", "/cnb/process:/usr/bin"),),
        user="1000:1000",
        working_dir="/workspace",
        entrypoint=("/cnb/process/web",),
        labels={labels.BUILD: json.dumps(build), labels.LIFECYCLE: "{}"},
    )


PROCFILE = "packrunner/procfile"


def test_the_default_and_what_the_procfile_lists() -> None:
    made = image(
        ("rm", "packrunner/live-reload"),
        ("worker", PROCFILE),
        ("release", PROCFILE),
        ("web", PROCFILE),
        ("shell", "packrunner/python"),
        default="web",
    )
    assert processes.chosen(made.labels, ()) == ("web", "worker")


def test_what_was_asked_for_and_nothing_else() -> None:
    assert processes.chosen(image(("web", PROCFILE)).labels, ("worker", "worker", "web")) == ("worker", "web")


def test_web_without_a_default() -> None:
    made = image(("tar", "packrunner/live-reload"), ("web", "acme/x"))
    assert processes.chosen(made.labels, ()) == ("web",)


@pytest.mark.parametrize("made", [image(), image(("tar", "packrunner/live-reload")), Image()])
def test_an_image_that_starts_nothing(made: Image) -> None:
    with pytest.raises(LaunchError) as caught:
        processes.chosen(made.labels, ())
    assert caught.value.slug == "no-entrypoint"


def test_each_process_has_a_port_and_the_first_an_address(tmp_path: Path) -> None:
    made = image(("web", PROCFILE), ("worker", PROCFILE))
    ports = {"web": 8001, "worker": 8002}
    web, worker = processes.commands(
        made, [str(tmp_path)], ["web", "worker"], env={"A": "1"}, port=ports.__getitem__, place="http://h:{}".format
    )
    assert (web.command.argv, web.command.cwd) == (("/cnb/process/web",), "/workspace")
    assert (web.command.env["PORT"], web.command.env["A"], web.place) == ("8001", "1", "http://h:8001")
    assert (worker.command.env["PORT"], worker.place) == ("8002", "")


def test_a_port_of_the_users_own_counts(tmp_path: Path) -> None:
    (web,) = processes.commands(
        image(("web", "x")),
        [str(tmp_path)],
        ["web"],
        env={"PORT": "9"},
        port=lambda _: 8000,
        place="http://h:{}".format,
    )
    assert (web.command.env["PORT"], web.place) == ("9", "http://h:9")


def test_the_reloader_is_started_through_the_launcher(tmp_path: Path) -> None:
    command = processes.attach(image(("web", "x")), [str(tmp_path)], env={})
    assert command.argv == ("/cnb/lifecycle/launcher", "--", "reloader", "attach")


def test_ports_stay_the_same() -> None:
    given = processes.Ports(21_000)
    first, second = given.of("web"), given.of("worker")
    assert first < second
    assert given.of("web") == first
