"""How an image is started: launcher, process or entrypoint; whom it runs as, by files that are not trusted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import LaunchError, UsageError
from packrunner.formats import labels
from packrunner.images.image import Image
from packrunner.lifecycle.launching import Start, start

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nodd line\nbad:x:y:z:::\n"


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower" / "etc").mkdir(parents=True)
    (tmp_path / "lower" / "etc" / "passwd").write_text(PASSWD)
    return tmp_path / "lower"


def image(**more: Any) -> Image:
    return Image(os="linux", architecture="amd64", **more)


def built(*types: str, **more: Any) -> Image:
    processes = [{"type": t, "command": ["x"]} for t in types]
    return image(
        labels={labels.LIFECYCLE: "{}", labels.BUILD: json.dumps({"processes": processes})},
        entrypoint=("/cnb/process/web",),
        **more,
    )


def begin(what: Image, lower: Path, **more: Any) -> Start:
    wishes: dict[str, Any] = {"env": {}, "process": None, "args": (), "command": False, **more}
    return start(what, (str(lower),), **wishes)


def test_an_image_starts_with_its_entrypoint(lower: Path) -> None:
    assert begin(built("web"), lower).argv == ("/cnb/process/web",)
    assert begin(image(entrypoint=("/bin/x",), cmd=("a",)), lower).argv == ("/bin/x", "a")


def test_arguments_replace_the_default_ones(lower: Path) -> None:
    assert begin(image(entrypoint=("/bin/x",), cmd=("a",)), lower, args=("b", "c")).argv == ("/bin/x", "b", "c")


def test_a_process_is_chosen_by_its_type(lower: Path) -> None:
    assert begin(built("web", "worker"), lower, process="worker", args=("-v",)).argv == ("/cnb/process/worker", "-v")


def test_an_unknown_process_names_those_there_are(lower: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        begin(built("web"), lower, process="wrker")
    assert caught.value.slug == "process-unknown"
    assert "web" in (caught.value.cause or "")


def test_a_command_goes_through_the_launcher_where_there_is_one(lower: Path) -> None:
    assert begin(built("web"), lower, command=True, args=("sh", "-c", "x")).argv[:3] == (
        "/cnb/lifecycle/launcher",
        "--",
        "sh",
    )
    assert begin(image(entrypoint=("/e",)), lower, command=True, args=("sh",)).argv == ("sh",)


@pytest.mark.parametrize(("what", "wishes", "kind"), [({}, {}, LaunchError), ({}, {"command": True}, UsageError)])
def test_nothing_to_start_is_said(lower: Path, what: Any, wishes: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        begin(image(**what), lower, **wishes)


def test_variables_of_the_caller_win_over_the_images(lower: Path) -> None:
    env = begin(image(entrypoint=("/e",), env=(("A", "1"), ("B", "2"))), lower, env={"A": "3"}).env
    assert (env["A"], env["B"]) == ("3", "2")
    assert "PATH" in env


@pytest.mark.parametrize(
    ("user", "uid", "gid", "home"),
    [
        ("1000:1000", 1000, 1000, "/home/app"),
        ("1000", 1000, 1001, "/home/app"),
        ("app", 1000, 1001, "/home/app"),
        ("4711", 4711, 4711, "/home/cnb"),
        ("", 0, 0, "/root"),
    ],
)
def test_the_user_is_found_by_number_or_name(lower: Path, user: str, uid: int, gid: int, home: str) -> None:
    found = begin(image(entrypoint=("/e",), user=user), lower).user
    assert (found.uid, found.gid, found.home) == (uid, gid, home)


@pytest.mark.fault("SBX-42")
@pytest.mark.parametrize("user", ["nobody-knows", "4294967296", "-1", "app:nogroup"])
def test_an_impossible_user_is_refused(lower: Path, user: str) -> None:
    with pytest.raises(LaunchError) as caught:
        begin(image(entrypoint=("/e",), user=user), lower)
    assert caught.value.slug == "image-user"


@pytest.mark.fault("SBX-13")
def test_a_list_of_users_that_is_a_link_or_a_pipe_is_not_read(lower: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0:root:/stolen:/bin/sh\n")
    (lower / "etc" / "passwd").unlink()
    (lower / "etc" / "passwd").symlink_to(secret)
    assert begin(image(entrypoint=("/e",), user="0"), lower).user.home != "/stolen"
    (lower / "etc" / "passwd").unlink()
    os.mkfifo(lower / "etc" / "passwd")
    assert begin(image(entrypoint=("/e",), user="0"), lower).user.home == "/home/cnb"


def test_the_topmost_list_of_users_counts(lower: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc" / "passwd").write_text("app:x:1000:1000::/elsewhere:/bin/sh\n")
    stacked = start(
        image(entrypoint=("/e",), user="app"),
        (str(lower), str(upper)),
        env={},
        process=None,
        args=(),
        command=False,
    )
    assert stacked.user.home == "/elsewhere"
