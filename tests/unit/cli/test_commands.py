from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time

import pytest

from packrunner import paths
from packrunner.cli import app, completions, listing, topics
from packrunner.cli.services import Pruned
from packrunner.console.terminal import Terminal
from packrunner.errors import PackrunnerError
from tests.unit.cli.cli_fakes import FakeServices, FakeStore, call, digest, image, stored

Capture = pytest.CaptureFixture[str]


class Terminals(io.StringIO):
    def isatty(self) -> bool:
        return True


def two_images() -> FakeServices:
    return FakeServices(
        images=FakeStore(
            stored("shop:latest", image()),
            stored("registry.example.com/team/api:latest", image(app="e"), 1_600_000_000.0),
        )
    )


# --- run


def test_run_passes_everything_on_and_the_exit_code_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    fake = FakeServices(on_run=lambda: 7)
    words = "run shop -e A=1 -e TOKEN -e ABSENT --process worker --publish 8080:8000 --publish 9000 -- --help -x"
    assert call(*words.split(), fake=fake) == 7
    assert fake.runs == [
        (
            "shop",
            {
                "env": (("A", "1"), ("TOKEN", "t")),
                "process": "worker",
                "args": ("--help", "-x"),
                "publish": ((8080, 8000), (9000, 9000)),
                "network": "host",
                "command": False,
            },
        )
    ]


def test_run_takes_the_line_that_build_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))
    fake = FakeServices()
    call("run", "shop@" + digest("3"), fake=fake)
    call("run", "oci:out", fake=fake)
    assert [name for name, _ in fake.runs] == [digest("3"), f"oci:{tmp_path}/out"]


@pytest.mark.parametrize("text", ["x", "0:80", "80:70000", "80:", ":80", "1:2:3", "\u0663"])
def test_ports_are_checked(text: str, capsys: Capture) -> None:
    code = call("run", "shop", "--publish", text)
    assert (code, "error[publish]" in capsys.readouterr().err) == ((0, False) if text == "80:" else (2, True))


# --- images


def test_images_in_a_pipe_are_full_values_between_tabs(capsys: Capture) -> None:
    assert call("images", fake=two_images()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["shop:latest", "registry.example.com/team/api:latest"]
    assert lines[0].split("\t")[1:] == [image().digest, "linux/amd64", "55748000", "48000", "2023-11-14T22:13:20.000Z"]


def test_no_images_in_a_pipe_are_no_lines(capsys: Capture) -> None:
    assert call("images") == 0
    assert capsys.readouterr().out == ""


def test_images_as_json(capsys: Capture) -> None:
    assert call("images", "--json", fake=two_images()) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "packrunner.images/1"
    assert document["images"][0]["digest"] == image().digest


def test_images_on_a_terminal_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminals()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "100")
    assert call("images", fake=two_images()) == 0
    assert screen.getvalue().splitlines()[0].split() == ["NAME", "DIGEST", "PLATFORM", "SIZE", "UNIQUE", "BUILT"]


def rows(width: int) -> list[str]:
    fake = two_images()
    return listing.table(listing.rows(fake.images.list()), Terminal(table_width=width), now=1_700_000_250.0)


def test_the_table_is_aligned_and_summed_up() -> None:
    short, other = image().digest[7:19], image(app="e").digest[7:19]
    assert rows(100) == [
        "NAME                            DIGEST         PLATFORM         SIZE   UNIQUE   BUILT",
        f"shop                            {short}   linux/amd64   55.7 MB    48 kB   4 min ago",
        f"registry.example.com/team/api   {other}   linux/amd64   55.7 MB    48 kB   3 years ago",
        "2 images, 55.8 MB on disk",
    ]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (80, ["NAME", "DIGEST", "SIZE", "UNIQUE", "BUILT"]),
        (70, ["NAME", "DIGEST", "SIZE", "BUILT"]),
        (60, ["NAME", "DIGEST", "SIZE", "BUILT"]),
    ],
)
def test_a_narrow_table_drops_platform_then_unique_then_cuts_names(width: int, columns: list[str]) -> None:
    lines = rows(width)
    assert lines[0].split() == columns
    assert max(map(len, lines)) <= width
    assert "registr" in lines[2]
    assert "am/api" in lines[2]


# --- inspect


def test_inspect_shows_what_an_image_is_made_of(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert call("inspect", "shop", fake=two_images()) == 0
    text = capsys.readouterr().out
    head, rest = text.split("\n\n")
    assert head.startswith(f"shop@{image().digest[7:19]}   linux/amd64   55.7 MB   built 2023-11-14 22:13 (")
    assert rest == (
        """\
  processes   web *             gunicorn app:app
              worker            celery -A 'my app'
  buildpacks  environment-variables 1.0.2, python
  base        debian:13@777777777777
  layers      base               31.2 MB   aaaaaaaaaaaa   shared by 2 images
              launcher            2.1 MB   bbbbbbbbbbbb   shared by 2 images
              runtime            22.4 MB   dddddddddddd   from python, shared by 2 images
              app                  48 kB   cccccccccccc
  runs as     1000:1000
  more        inspect --json
"""
    )


def test_inspect_as_json_has_full_digests(capsys: Capture) -> None:
    assert call("inspect", "shop@" + image().digest, "--json", fake=two_images()) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "packrunner.inspect/1"
    assert document["layers"][0] == {
        "name": "base",
        "diff_id": digest("a"),
        "size": 31_200_000,
        "buildpack": "",
        "shared": 2,
    }
    assert document["processes"][0]["default"] is True


def test_an_image_that_is_not_there_is_answered_with_the_nearest(capsys: Capture) -> None:
    assert call("inspect", "shpo", fake=two_images()) == 2
    assert capsys.readouterr().err == (
        "error[unknown-image]: there is no image shpo\n  try:   shop\n  or:    packrunner images\n"
    )
    assert call("inspect", "shop") == 2
    assert "try:   packrunner build shop" in capsys.readouterr().err
    # What may be in a registry is one command away.
    assert call("inspect", "reg.example.com/shop") == 2
    assert "try:   packrunner pull reg.example.com/shop" in capsys.readouterr().err


def test_errors_of_json_commands_are_json(capsys: Capture) -> None:
    assert call("inspect", "shpo", "--json", fake=two_images()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["code"] == "unknown-image"


# --- rm, prune


def test_rm_removes_names_and_prints_them(capsys: Capture) -> None:
    fake = two_images()
    assert call("rm", "--yes", "shop", "registry.example.com/team/api", fake=fake) == 0
    assert fake.images.removed == ["shop:latest", "registry.example.com/team/api:latest"]
    assert capsys.readouterr().out == "shop\nregistry.example.com/team/api\n"


def test_rm_removes_nothing_when_one_name_is_wrong(capsys: Capture) -> None:
    fake = two_images()
    assert call("rm", "--yes", "shop", "nope", fake=fake) == 2
    assert fake.images.removed == []


@pytest.mark.parametrize(("answer", "removed"), [("y\n", 1), ("\n", 0), ("", 0)])
def test_rm_asks_on_a_terminal(answer: str, removed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = two_images()
    monkeypatch.setattr(sys, "stdin", Terminals(answer))
    assert call("rm", "shop", fake=fake) == 0
    assert len(fake.images.removed) == removed


def test_without_a_terminal_the_flag_is_named(capsys: Capture) -> None:
    fake = two_images()
    assert call("rm", "shop", fake=fake) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[confirm]")
    assert "try:   packrunner rm --yes shop" in err
    assert fake.images.removed == []


GARBAGE = (Pruned(what="layers", size=2_000_000), Pruned(what="base images", size=0))


def test_prune_says_what_went(capsys: Capture) -> None:
    fake = FakeServices(prunable=GARBAGE)
    assert call("prune", "--all", "--yes", fake=fake) == 0
    assert fake.prunes == [(True, True), (True, False)]
    assert capsys.readouterr().out == "Removed layers (2.0 MB).\n"


def test_prune_only_looks_when_asked_to(capsys: Capture) -> None:
    fake = FakeServices(prunable=GARBAGE)
    assert call("prune", "--dry-run", "--json", fake=fake) == 0
    assert fake.prunes == [(False, True)]
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["removed"], document["size"]) == ("packrunner.prune/1", False, 2_000_000)


def test_nothing_to_prune_needs_no_question(capsys: Capture) -> None:
    assert call("prune") == 0
    assert capsys.readouterr().out == "Nothing to remove.\n"


# --- help


def test_alone_it_explains_itself_in_a_screen(capsys: Capture) -> None:
    assert call() == 0
    text = capsys.readouterr().out
    assert text.startswith("Build container images from source, without a Dockerfile, a daemon or root.\n")
    assert len(text.splitlines()) <= 30
    listed = set(re.findall(r"[a-z-]+", text.split("Application")[1].split("Help ")[0]))
    assert set(app.first_words()) - {"help"} <= listed
    for words in ("--help", "-h", "help"):
        assert call(words) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_has_a_page(name: str, capsys: Capture) -> None:
    assert call(*name.split(), "--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: packrunner {name}")
    assert max(map(len, out.splitlines())) <= 100
    assert f"  packrunner {name}" in out or name == "completion"
    assert call("help", *name.split()) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("name", app.COMMANDS)
def test_no_option_is_described_by_its_name(name: str) -> None:
    for _, options in app.sections(app.load(name)):
        for option in options:
            assert option.help, option.opts
            assert len(option.help.split()) > 2, option.opts


@pytest.mark.parametrize("topic", topics.PAGES)
def test_topics_are_answered_offline(topic: str, capsys: Capture) -> None:
    assert call("help", topic) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) > 5
    assert "](" not in out


def test_the_code_of_an_error_leads_to_its_section() -> None:
    sections = topics.error_sections("# Errors\n\n## `disk-full`\n\nThe disk is **full**.\n\n## other\n\nText.\n")
    assert sections == {"disk-full": "\n\nThe disk is **full**.\n\n", "other": "\n\nText.\n"}


def test_markdown_is_shown_as_text() -> None:
    page = "# Exit codes\n\n| Code | Meaning |\n|---|---|\n| `0` | [done](x.md), **all** |\n"
    assert topics.for_terminal(page).splitlines() == [
        "Exit codes",
        "",
        "  Code   Meaning",
        "  0      done, all",
    ]


def test_tables_are_in_columns_and_as_wide_as_prose() -> None:
    page = "| A | B | C |\n|---|---|---|\n| `x`, `y` | a long cell | `c` |\n| 1 | 2 | " + "word " * 40 + "|\nText.\n"
    shown = topics.for_terminal(page).splitlines()
    assert shown[:2] == ["  A      B             C", "  x, y   a long cell   c"]
    assert shown[2].startswith("  1      2             word word")
    assert shown[3].startswith("                       word word")
    assert shown[-1] == "Text."
    assert max(map(len, shown)) <= 120


def test_one_letter_is_like_no_other(capsys: Capture) -> None:
    assert call("detect", "-v") == 2
    assert capsys.readouterr().err.splitlines() == [
        "error[usage]: packrunner detect has no option -v",
        "  more:  packrunner detect --help",
    ]


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (("buid",), ["error[usage]: there is no command buid", "  try:   packrunner build"]),
        (("-q", "build"), ["error[usage]: -q comes before the command"]),
        (("images", "--jsno"), ["error[usage]: packrunner images has no option --jsno", "  try:   --json"]),
        (("inspect",), ["error[usage]: packrunner inspect needs IMAGE"]),
        (("save", "shop"), ["error[usage]: packrunner save needs -o"]),
        (("rm",), ["error[usage]: packrunner rm needs IMAGE..."]),
        (("completion", "bsh"), ["error[usage]: there is no completion for bsh"]),
        (
            ("help", "exit-code"),
            ["error[usage]: there is no help about exit-code", "  try:   packrunner help exit-codes"],
        ),
    ],
)
def test_slips_are_answered_with_the_right_word(argv: tuple[str, ...], lines: list[str], capsys: Capture) -> None:
    assert call(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for line in lines:
        assert line in err.splitlines()


def test_the_version(capsys: Capture) -> None:
    from packrunner._version import __version__

    assert call("--version") == 0
    assert capsys.readouterr().out == f"packrunner {__version__}\n"


def test_a_broken_config_file_is_named_with_its_line(capsys: Capture) -> None:
    path = paths.config_file()
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write('# mine\nbuildr = "debian:13"\n')
    assert call("images") == 2
    err = capsys.readouterr().err
    assert err.startswith("error[config-key]: ")
    words = " ".join(err.split())  # long paths are broken into lines
    assert "config.toml:2 buildr" in words
    assert "try: write builder" in words


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_refused_kindly(system: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert call("build") == 2
    assert capsys.readouterr().err.startswith("error[platform]: packrunner runs on Linux only for now")
    assert call("build", "--help") == 0


# --- completion


@pytest.mark.parametrize("shell", completions.SHELLS)
def test_completion_scripts_have_commands_and_options(shell: str, capsys: Capture) -> None:
    assert call("completion", shell) == 0
    script = capsys.readouterr().out
    for name in app.COMMANDS:
        assert name in script
    assert "clear-cache" in script


def complete(line: str, path: str) -> list[str]:
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"{completions.script('bash')}\nCOMP_WORDBREAKS=' :'\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n"
        '_packrunner\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    ended = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True, env={"PATH": f"{path}:/usr/bin:/bin"}
    )
    return ended.stdout.split()


def test_bash_completes_what_fits(tmp_path: object) -> None:
    tool = os.path.join(str(tmp_path), "packrunner")
    with open(tool, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nprintf 'shop:latest\\tx\\napi:v1\\ty\\n'\n")
    os.chmod(tool, 0o755)
    path = str(tmp_path)
    assert complete("packrunner ins", path) == ["inspect"]
    assert complete("packrunner build --net", path) == ["--network"]
    assert complete("packrunner build --network ", path) == ["host", "none"]
    assert complete("packrunner inspect sh", path) == ["shop:latest"]
    assert complete("packrunner run shop:l", path) == ["latest"]
    assert complete("packrunner completion z", path) == ["zsh"]


# --- surprises


def test_a_surprise_is_one_error_and_a_report(capsys: Capture) -> None:
    def burst() -> int:
        raise KeyError("hunter2hunter2")

    os.environ["PIP_TOKEN"] = "hunter2hunter2"
    try:
        assert call("run", "shop", "-e", "PLAIN=value", fake=FakeServices(on_run=burst)) == 1
    finally:
        del os.environ["PIP_TOKEN"]
    err = capsys.readouterr().err
    assert err.startswith("error[bug]: ")
    assert "Traceback" not in err
    logs = os.path.join(paths.state_dir(), "logs")
    [name] = os.listdir(logs)
    with open(os.path.join(logs, name), encoding="utf-8") as file:
        report = file.read()
    assert "Traceback" in report
    assert "arguments: run shop -e PLAIN=(hidden)" in report
    assert "hunter2" not in report


def test_the_traceback_is_shown_when_asked_for(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst() -> int:
        raise KeyError("x")

    monkeypatch.setenv("PACKRUNNER_VERBOSE", "1")
    assert call("run", "shop", fake=FakeServices(on_run=burst)) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.fault("PRO-12")
@pytest.mark.parametrize(("number", "slug"), [(24, "limit"), (27, "limit"), (28, "disk-full"), (122, "disk-full")])
def test_limits_of_the_machine_are_named(number: int, slug: str, capsys: Capture) -> None:
    def burst() -> int:
        raise OSError(number, os.strerror(number), "/some/file")

    assert call("run", "shop", fake=FakeServices(on_run=burst)) == 15
    assert capsys.readouterr().err.startswith(f"error[{slug}]: ")


def test_an_error_of_ours_has_its_code(capsys: Capture) -> None:
    def fail() -> int:
        raise PackrunnerError("no", slug="x")

    assert call("run", "shop", fake=FakeServices(on_run=fail)) == 1
