"""The phases of the lifecycle, one by one, for platforms that drive them in a builder's container: flags, variables,
files and exit codes are those of the Platform API, so `packrunner lifecycle detect` stands for
/cnb/lifecycle/detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from packrunner.cli import phases
from packrunner.cli.app import Command, session_of
from packrunner.cli.phases import flags
from packrunner.formats.api import PLATFORM_API

if TYPE_CHECKING:
    from packrunner.cli.phases.flags import Flag, Phase

ABOUT = {
    "analyze": "Look at the previous image and the run image; writes analyzed.toml.",
    "detect": "Find the buildpacks that build the application; writes group.toml and plan.toml.",
    "generate": "Let the group's image extensions write their Dockerfiles, as detect does at its end.",
    "restore": "Bring cached layers and the metadata of the last image back into the layers directory.",
    "extend": "Apply the Dockerfiles of image extensions to the run image, or to the build image and build on it.",
    "build": "Run the group's buildpacks; leaves layers and config/metadata.toml.",
    "export": "Make the image of what the build left, write it under every name; writes report.toml.",
    "rebase": "Put the layers of an image on another run image; writes report.toml.",
    "create": "All phases from analyze to export in one call.",
}
_WORDS = {"analyze": "IMAGE", "export": "IMAGE...", "rebase": "IMAGE...", "create": "IMAGE"}


class PhaseCommand(Command):
    """A phase, which reads its flags in its own way."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave everything but a question for help to the phase."""
        if {"-h", "--help"} & set(args):
            return super().parse_args(ctx, ["--help"])
        ctx.args = list(args)
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run the phase; the exit status."""
        return phases.main(cast("Phase", self.name), ctx.args, session_of(ctx))


def load(word: str) -> click.Command:
    """A phase as a command, for its page and for completion."""
    phase = cast("Phase", word)
    words = [click.Argument(["word"], required=True, metavar=_WORDS[phase])] if phase in _WORDS else []
    known = flags.of(phase, PLATFORM_API).values()
    return PhaseCommand(
        name=word,
        params=[*words, *(_option(flag) for flag in known)],
        help=f"{ABOUT[phase]}\n\n{_example(phase)}",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _example(phase: Phase) -> str:
    layout = "-layout -layout-dir /images " if phase in _WORDS else ""
    return f"packrunner lifecycle {phase} {layout}{'shop' if phase in _WORDS else '-log-level debug'}"


def _option(flag: Flag) -> click.Option:
    sources = [f"default: {flag.default}"] if flag.default else []
    sources += [flag.variable] if flag.variable else []
    about = f"{flag.about[0].upper()}{flag.about[1:]}."
    switch = flag.kind == "switch"
    return click.Option(
        [f"-{flag.name}", flag.name.replace("-", "_")],
        help=f"{about} ({'; '.join(sources)})" if sources else about,
        is_flag=switch,
        metavar="" if switch else {"number": "ID", "list": "NAME"}.get(flag.kind, "VALUE"),
    )
