"""Commands of two words, shown on a group made for it: `kit make` and `kit build-all`, whose flags have one dash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import pytest
import typer

from packrunner.cli import app, completions, topics
from tests.unit.cli.cli_fakes import call

if TYPE_CHECKING:
    import click

Capture = pytest.CaptureFixture[str]


class Loud(app.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [arg.upper() if arg.isalpha() else arg for arg in args])


def make(ctx: typer.Context, what: str, *, layers: Annotated[str, typer.Option("-layers", help="The place.")]) -> int:
    """Make a thing. It is kept.

    packrunner kit make it
    """
    app.session_of(ctx).result(f"made {what} in {layers}")
    return 3


def build_all(ctx: typer.Context, *, quiet: Annotated[bool, typer.Option("-q", help="Say less.")] = False) -> int:
    """Build everything."""
    app.session_of(ctx).result(f"all, {quiet}")
    return 0


@pytest.fixture(autouse=True)
def kit(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "kit": ModuleType("packrunner.cli.commands.kit", "Things\nin a kit."),
        "kit.make": ModuleType("packrunner.cli.commands.kit.make"),
        "kit.build_all": ModuleType("packrunner.cli.commands.kit.build_all"),
    }
    vars(modules["kit.make"]).update(command=make, CLASS=Loud, CONTEXT={"ignore_unknown_options": False})
    vars(modules["kit.build_all"]).update(command=build_all)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"packrunner.cli.commands.{name}", module)
    monkeypatch.setattr(app, "COMMANDS", (*app.COMMANDS, "kit make", "kit build-all"))


@pytest.mark.parametrize("flag", [("-layers", "/l"), ("-layers=/l",)])
def test_two_words_name_a_command_which_parses_in_its_own_way(flag: tuple[str, ...], capsys: Capture) -> None:
    assert call("kit", "make", "it", *flag) == 3
    assert capsys.readouterr().out == "made IT in /l\n"
    assert call("kit", "build-all", "-q") == 0
    assert capsys.readouterr().out == "all, True\n"


@pytest.mark.parametrize("argv", [("kit",), ("kit", "--help"), ("kit", "-h"), ("help", "kit")])
def test_a_group_has_a_page(argv: tuple[str, ...], capsys: Capture) -> None:
    assert call(*argv) == 0
    assert capsys.readouterr().out == (
        "Usage: packrunner kit COMMAND [options]\n\nThings in a kit.\n\n"
        "  kit make       Make a thing\n  kit build-all  Build everything\n\npackrunner kit COMMAND --help\n"
    )


@pytest.mark.parametrize("argv", [("kit", "make", "--help"), ("help", "kit", "make")])
def test_its_commands_have_pages(argv: tuple[str, ...], capsys: Capture) -> None:
    assert call(*argv) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: packrunner kit make [options] WHAT\n\nMake a thing. It is kept.\n")
    assert "\n  -layers                   The place.\n" in out


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (("kit", "mkae"), ["there is no command kit mkae", "packrunner kit make"]),
        (("kit", "nothing"), ["there is no command kit nothing", "packrunner kit --help"]),
        (("make",), ["there is no command make", "packrunner kit make"]),
        (("kit-make",), ["there is no command kit-make", "packrunner kit make"]),
        (("kitt", "make"), ["there is no command kitt", "packrunner kit"]),
        (("kit", "-q", "make"), ["-q comes before the command", "packrunner kit make -q"]),
        (("kit", "make", "it", "--layer", "x"), ["packrunner kit make has no option --layer", "-layers"]),
        (("kit", "make"), ["packrunner kit make needs WHAT", "packrunner kit make --help"]),
        (("help", "kit", "mak"), ["there is no help about kit mak", "packrunner help kit make"]),
        (("biuld",), ["there is no command biuld", "packrunner build"]),
    ],
)
def test_slips_in_two_words_are_answered_with_both(argv: tuple[str, ...], lines: list[str], capsys: Capture) -> None:
    assert call(*argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error[usage]: {lines[0]}")
    assert lines[1] in {line.split(maxsplit=1)[-1] for line in err.splitlines()[1:]}


def complete(*words: str) -> list[str]:
    code = (
        f"{completions.script('bash')}\nCOMP_WORDS=(packrunner {' '.join(repr(word) for word in words)})\n"
        f'COMP_CWORD={len(words)}\n_packrunner\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_second_words_and_their_options() -> None:
    assert complete("ki") == ["kit"]
    assert complete("kit", "") == ["make", "build-all", "--help"]
    assert complete("kit", "ma") == ["make"]
    assert complete("kit", "make", "-l") == ["-layers"]
    assert complete("build", "-l") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("packrunner ki", {"kit"}),
        ("packrunner kit ", {"make", "build-all"}),
        ("packrunner kit make -la", {"-layers"}),
        ("packrunner kit build-all -", {"-h", "--help", "-q"}),
        ("packrunner build --netw", {"--network"}),
        ("packrunner build --network ", {"host", "none"}),
    ],
)
def test_fish_too(line: str, found: set[str]) -> None:
    code = f"{completions.script('fish')}\ncomplete -C '{line}'\n"
    ended = subprocess.run(["fish", "--no-config"], input=code, capture_output=True, text=True, check=True)
    assert {offer.split("\t")[0] for offer in ended.stdout.splitlines()} == found


def test_help_pages_are_found_by_both_words() -> None:
    assert topics.text("kit", "build-all").startswith("Usage: packrunner kit build-all")
