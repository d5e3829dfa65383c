"""Files that bin/build may leave, broken in every way: the right exit code, and the file and key in the message."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

import pytest

from packrunner import workspace
from packrunner.errors import BuildError, PackrunnerError, UnsafeArchiveError
from tests.conformance.items import ROOT
from tests.cycle import World, writes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import Call

BUILD = "[types]\nbuild = true\n"
PROCESS = "[[processes]]\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("sentinel")
    return World(root=tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "at"),
    [
        # TOML syntax, each file
        *[(file, "a = [", file) for file in ("x.toml", "launch.toml", "build.toml", "store.toml")],
        *[(file, "a = 1\na = 2", file) for file in ("x.toml", "launch.toml", "build.toml", "store.toml")],
        *[(file, b"a = '\xff'", f"{file}:1") for file in ("x.toml", "launch.toml", "build.toml", "store.toml")],
        *[(file, "a = " + "[" * 3000, file) for file in ("x.toml", "launch.toml", "build.toml", "store.toml")],
        # wrong types
        ("x.toml", "types = 1", "types"),
        ("x.toml", "[types]\nlaunch = 1", "types.launch"),
        ("x.toml", "metadata = []", "metadata"),
        ("launch.toml", "processes = 1", "processes"),
        ("launch.toml", "processes = [1]", "processes"),
        ("launch.toml", PROCESS + "type = 1\ncommand = ['x']", "processes[0].type"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = [1]", "processes[0].command[0]"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = ['x']\nargs = 'y'", "processes[0].args"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = ['x']\ndefault = 'yes'", "processes[0].default"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = ['x']\nworking-dir = 1", "processes[0].workingdir"),
        ("launch.toml", PROCESS + "command = ['x']", "processes[0]"),
        ("launch.toml", "[[labels]]\nkey = 'k'", "labels[0]"),
        ("launch.toml", "[[labels]]\nkey = 'k'\nvalue = 1", "labels[0].value"),
        ("launch.toml", "[[slices]]\npaths = 'x'", "slices[0].paths"),
        ("launch.toml", "bom = 1", "bom"),
        ("launch.toml", "[[bom]]\nmetadata = {}", "bom[0]"),
        ("build.toml", "unmet = 1", "unmet"),
        ("build.toml", "[[unmet]]\nname = 1", "unmet[0].name"),
        ("store.toml", "metadata = 1", "metadata"),
        # values that cannot be
        ("x.toml", "launch = true", "launch"),
        ("launch.toml", PROCESS + "type = '../x'\ncommand = ['x']", "launch.toml"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = []", "launch.toml"),
        ("launch.toml", PROCESS + "type = 'a'\ncommand = ['x']\ndirect = true", "direct"),
        ("build.toml", "[[unmet]]\nname = 'never'", "build.toml"),
        # names that are no layers
        ("...toml", BUILD, "...toml"),
        ("launch.sbom.xml.json", "{}", "launch.sbom.xml.json"),
        ("x/env/A", "a\0b", "x/env/A"),
    ],
)
def test_what_breaks_the_specification_is_named(world: World, file: str, text: str | bytes, at: str) -> None:
    def program(call: Call) -> None:
        call.write("x.toml", BUILD)
        call.write(file, text)

    world.add("a", program)
    with pytest.raises(BuildError) as caught:
        world.build()
    error = caught.value
    assert error.exit_code == 52
    place = f"{error.at} {error.brief}".replace("-", "")
    assert at.replace("-", "") in place, place
    assert "acme_a/" in place
    if error.slug == "toml":
        assert re.search(r"acme_a/\S+:\d+", error.at or ""), error.at


@pytest.mark.fault("SBX-17")
@pytest.mark.parametrize("file", ["x.toml", "launch.toml", "build.toml", "store.toml", "x/env/A", "x/env.build/A"])
def test_files_of_gigabytes_are_refused_by_name(world: World, file: str) -> None:
    def program(call: Call) -> None:
        call.write("x.toml", BUILD)
        os.truncate(call.write(file, BUILD if file == "x.toml" else ""), 3 << 30)

    world.add("a", program)
    with pytest.raises(UnsafeArchiveError) as caught:
        world.build()
    assert file in f"{caught.value.at} {caught.value.brief}"


@pytest.mark.fault("SBX-03")
@pytest.mark.parametrize("inside", ["../../../outside/f", "/etc/passwd", "../../acme_b", "."])
def test_links_that_leave_a_layer_stay_links(world: World, inside: str) -> None:
    def program(call: Call) -> None:
        call.write("x.toml", BUILD)
        call.write("x/f", "f")
        os.symlink(inside, call.path("x/link"))
        os.symlink(inside, call.path("x/bin"))

    world.add("a", program)
    world.build()
    assert os.readlink(world.layers("acme_a/x/link")) == inside
    assert (world.root / "outside/f").read_text() == "sentinel"


@pytest.mark.fault("SBX-16")
def test_a_workspace_is_closed_to_other_users(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        place = str(tmp_path / "apps" / "work")
        with workspace.opened(place, "/app", owner=None, env={"A": "1"}, bindings={}, waiting=lambda: None):
            assert os.stat(place).st_mode & 0o7777 == 0o700
    finally:
        os.umask(before)


@pytest.mark.fault("SBX-20")
def test_two_builds_of_one_application_take_turns(tmp_path: Path) -> None:
    place, order = str(tmp_path / "work"), []

    def second() -> None:
        with workspace.opened(place, "/app", owner=None, env={}, bindings={}, waiting=lambda: None):
            order.append("second")

    with workspace.opened(place, "/app", owner=None, env={}, bindings={}, waiting=lambda: None):
        other = threading.Thread(target=second)
        other.start()
        other.join(timeout=0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


@pytest.mark.fault("SBX-20")
def test_a_path_swapped_while_it_is_restored_leads_nowhere(world: World) -> None:
    """Somebody else who can write here, another build or a process that got away, swaps a layer for a link."""
    world.add("a", writes({"x.toml": "[types]\ncache = true\n", "x/f": "x", "x/sub/g": "g"}))
    world.cycle()
    done = threading.Event()
    target, link = world.layers("acme_a/x"), world.layers("acme_a/l")

    def swap() -> None:
        while not done.is_set():
            try:
                link.symlink_to(world.root / "outside")
                os.replace(target, world.layers("acme_a/moved"))
                os.replace(link, target)
            except OSError:
                pass  # the restorer was faster
            for left in (link, target):
                if left.is_symlink():
                    left.unlink(missing_ok=True)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        for _ in range(30):
            try:
                world.restore()
            except (PackrunnerError, OSError):
                continue  # a refusal is fine, a write outside is not
    finally:
        done.set()
        attacker.join()
    assert sorted(os.listdir(world.root / "outside")) == ["f"]
    assert (world.root / "outside/f").read_text() == "sentinel"


def test_every_row_of_the_first_group_of_sandbox_faults_has_a_test() -> None:
    marked = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    rows = [f"SBX-{number:02}" for number in range(1, 22)]
    assert [row for row in rows if f'"{row}"' not in marked] == []
