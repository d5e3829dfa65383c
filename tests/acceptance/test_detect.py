"""`packrunner detect` as users call it: without a build, with an order of one's own, and after a build that failed."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

PROVIDE = "printf '[[provides]]\\nname = \"x\"\\n' >> $2\n"
REQUIRE = "printf '[[requires]]\\nname = \"x\"\\n' >> $2\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Buildpacks named for what they do, and an application."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.c").touch()
    for name, body in {
        "passes": "echo found it",
        "fails": "echo needs a-file; echo try: create a-file; exit 100",
        "errs": "echo looking; echo oh no >&2; exit 1",
        "provides": PROVIDE,
        "requires": REQUIRE,
        "arm-only": "exit 0",
        "counts": "echo ran >> /cnb/plans/ran; exit 100",
    }.items():
        place = tmp_path / "shelf" / f"acme_{name}" / "1.0.0"
        probe_buildpack(place, detect=f"#!/bin/sh\n{body}\n")
        text = (place / "buildpack.toml").read_text().replace("test/probe", f"acme/{name}")
        if name == "arm-only":
            text += 'arch = "arm64"\n' if os.uname().machine == "x86_64" else 'arch = "amd64"\n'
        (place / "buildpack.toml").write_text(text)
    return tmp_path


def order(shelf: Path, *groups: str) -> list[str]:
    """An order of `name name?` groups in a file; the arguments that try it."""
    text = ""
    for group in groups:
        text += "[[order]]\n"
        for word in group.split():
            text += f'[[order.group]]\nid = "acme/{word.rstrip("?")}"\nversion = "1.0.0"\n'
            text += "optional = true\n" if word.endswith("?") else ""
    (shelf / "order.toml").write_text(text)
    files = ["--order", str(shelf / "order.toml"), "--buildpacks", str(shelf / "shelf")]
    return ["detect", "-p", str(shelf / "app"), *files]


def words(text: str) -> list[tuple[str, str]]:
    """(word, buildpack) of the rows of a tree."""
    rows = [line.split() for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
    return [(row[0], row[1]) for row in rows if row[0] in {"pass", "no", "skip", "error", "unmet"}]


def test_the_sample_is_recognised_without_a_build(cli: Cli, app: Path) -> None:
    before = cli.ok("images", "--json").out
    found = cli.ok("detect", "-p", str(app))
    assert found.out.splitlines()[:2] == ["group  1 of 1: python", "order  python 0.1.0"]
    assert json.loads(cli.ok("detect", "-p", str(app), "--json").out)["schema"] == "packrunner.detect/1"
    assert cli.ok("images", "--json").out == before


@pytest.mark.cnb("DET-12", "DET-15", "DET-20", "TGT-05", "TGT-06", "IMG-05")
@pytest.mark.parametrize(
    ("groups", "code", "expected"),
    [
        (("fails",), 20, [("no", "fails")]),
        (("errs",), 21, [("error", "errs")]),
        (("fails", "passes errs"), 21, [("no", "fails"), ("pass", "passes"), ("error", "errs")]),
        (("errs", "passes"), 0, [("error", "errs"), ("pass", "passes")]),
        (("errs? passes fails?",), 0, [("error", "errs"), ("pass", "passes"), ("skip", "fails")]),
        # What ends a trial is told; whether `provides` would be used is not known until that is mended.
        (("requires provides",), 20, [("unmet", "requires"), ("pass", "provides")]),
        (("passes provides",), 20, [("pass", "passes"), ("unmet", "provides")]),
        (("provides requires",), 0, [("pass", "provides"), ("pass", "requires")]),
        (("provides? passes",), 0, [("skip", "provides"), ("pass", "passes")]),
        (("arm-only passes",), 21, [("error", "arm-only"), ("pass", "passes")]),
        (("arm-only? passes",), 0, [("skip", "arm-only"), ("pass", "passes")]),
    ],
)
def test_each_outcome_has_its_word_and_its_exit_code(
    cli: Cli, shelf: Path, groups: tuple[str, ...], code: int, expected: list[tuple[str, str]]
) -> None:
    ended = cli(*order(shelf, *groups), "--explain")
    tree = ended.out.partition("\nnearest: ")[0]
    assert (ended.code, words(tree)) == (code, expected), ended.err


@pytest.mark.cnb("BPD-02")
def test_an_api_that_is_not_supported_in_the_last_group_stops_before_anything_runs(cli: Cli, shelf: Path) -> None:
    descriptor = shelf / "shelf" / "acme_passes" / "1.0.0" / "buildpack.toml"
    descriptor.write_text(descriptor.read_text().replace('"0.12"', '"0.99"'))
    ended = cli(*order(shelf, "counts", "fails", "passes"))
    assert ended.code == 12
    assert "acme/passes needs Buildpack API 0.99" in ended.err
    assert not list(shelf.rglob("ran"))


@pytest.mark.cnb("BPD-05", "BPD-10")
def test_orders_that_cannot_be_right_end_with_2(cli: Cli, shelf: Path) -> None:
    ended = cli(*order(shelf, "passes", "nobody"))
    assert (ended.code, "there is no buildpack acme/nobody@1.0.0" in ended.err) == (2, True)
    assert "order.toml:7, key order[1].group[0].id" in " ".join(ended.err.split())  # a long path wraps the line
    descriptor = shelf / "shelf" / "acme_passes" / "1.0.0" / "buildpack.toml"
    circle = '[[order]]\n[[order.group]]\nid = "acme/passes"\nversion = "1.0.0"\n'
    descriptor.write_text(descriptor.read_text().partition("[[targets]]")[0] + circle)
    ended = cli(*order(shelf, "passes"))
    assert (ended.code, "the composite acme/passes is part of itself" in ended.err) == (2, True)


def extension(place: Path, provides: str, *, detect: str = "") -> str:
    """An image extension that provides something, by its plan or by a program."""
    place.mkdir(parents=True)
    name = place.name if place.parent.name == "extensions" else place.parent.name.removeprefix("acme_")
    descriptor = f'api = "0.12"\n[extension]\nid = "acme/{name}"\nversion = "1.0.0"\n'
    (place / "extension.toml").write_text(descriptor)
    if detect:
        (place / "bin").mkdir()
        (place / "bin" / "detect").write_text(detect)
        (place / "bin" / "detect").chmod(0o755)
    else:
        (place / "detect").mkdir()
        (place / "detect" / "plan.toml").write_text(f'[[provides]]\nname = "{provides}"\n')
    return str(place)


@pytest.mark.cnb("EXT-01", "EXT-04", "BPD-12", "IMG-05")
def test_extensions_are_explained_as_buildpacks_are(cli: Cli, shelf: Path) -> None:
    tool = extension(shelf / "extensions" / "tool", "x")
    other = extension(shelf / "extensions" / "other", "y")
    errs = extension(shelf / "extensions" / "bad", "x", detect="#!/bin/sh\necho oh no; exit 1\n")
    requires = str(shelf / "shelf" / "acme_requires" / "1.0.0")
    asked = ("detect", "-p", str(shelf / "app"), "-b", requires, "--explain")
    assert cli(*asked).code == 20
    ended = cli.ok(*asked, "--extension", tool, "--extension", other, "--extension", errs)
    assert words(ended.out)[:3] == [("pass", "tool"), ("skip", "other"), ("error", "bad")], ended.out
    assert ("pass", "requires") in words(ended.out)
    document = json.loads(cli.ok(*asked[:-1], "--extension", tool, "--json").out)
    assert "acme/tool" in json.dumps(document)


@pytest.mark.cnb("IMG-05", "BPD-05")
@pytest.mark.parametrize("where", ["shelf", "named"])
def test_an_order_names_extensions(cli: Cli, shelf: Path, where: str) -> None:
    args = order(shelf, "requires")
    file = shelf / "order.toml"
    text = file.read_text()
    group = '[[order-extensions]]\n[[order-extensions.group]]\nid = "acme/tool"\n'
    file.write_text(text + group)
    missing = cli(*args)
    assert (missing.code, "there is no image extension acme/tool" in missing.err) == (2, True), missing.err
    assert "order.toml:7, key order-extensions[0].group[0].id" in " ".join(missing.err.split())
    if where == "shelf":
        extension(shelf / "shelf" / "acme_tool" / "1.0.0", "x")
    else:
        args += ["--extension", extension(shelf / "extensions" / "tool", "x")]
    assert words(cli.ok(*args, "--explain").out) == [("pass", "tool"), ("pass", "requires")]
    file.write_text(text + group + 'version = "2.0.0"\n')
    assert cli(*args).code == 2


def test_the_command_that_a_failed_build_names_explains_it(cli: Cli, shelf: Path) -> None:
    names = [str(shelf / "shelf" / f"acme_{name}" / "1.0.0") for name in ("passes", "fails")]
    ended = cli("build", "-p", "app", "-b", names[0], "-b", names[1], "-e", "A=b c", cwd=shelf)
    assert ended.code == 20
    block = ended.err.partition("  more:  ")[2]
    typed = shlex.split(" ".join(block.split()))
    assert typed[:3] == ["packrunner", "detect", "--explain"]
    again = cli(*typed[1:], cwd=shelf)
    # Between the two system buildpacks of the builder.
    assert (again.code, words(again.out)[1:3]) == (20, [("pass", "passes"), ("no", "fails")])
    assert "  try:   create a-file" in again.out


def test_an_ordinary_user_can_ask_too(ordinary: Cli, sample: Path) -> None:
    assert ordinary.ok("detect", "-p", str(sample)).out.startswith("group  1 of 1: python\n")
