"""`packrunner plan`: it takes the arguments of `packrunner build`, and its own --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer.core

from packrunner.cli.app import Command, session_of
from packrunner.cli.commands.build import COMMON, command

if TYPE_CHECKING:
    import click

__all__ = ["CLASS", "command"]

_ABOUT = """\
Say what a build with the same arguments would do, and why: its settings, builder and buildpacks, the groups that
detection may try, what of the last build comes back, and whether anything changed. No buildpack runs.

packrunner plan shop                             in place of packrunner build shop
packrunner plan shop --clear-cache --push        with any of its flags
packrunner plan shop --json                      for programs; a build's report.json is like it
"""
_JSON = "--json"


class CLASS(Command):
    """What `build` takes, and --json."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = _ABOUT
        about = "One JSON document with all of it, for programs."
        self.params.insert(
            1, typer.core.TyperOption(param_decls=[_JSON], is_flag=True, help=about, rich_help_panel=COMMON)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Also keep what a build would have been called with."""
        ctx.meta[_JSON] = ["build", *(arg for arg in args if arg != _JSON)]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        """Show the plan; the exit code."""
        from packrunner.cli import planning

        json = ctx.params.pop("json")
        return planning.perform(super().invoke(ctx), ctx.meta[_JSON], session_of(ctx), json=json)
