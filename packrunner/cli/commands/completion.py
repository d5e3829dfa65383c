"""`packrunner completion`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL")],
) -> int:
    """Print a script that completes commands, options and image names. SHELL is bash, zsh or fish.

    source <(packrunner completion bash)       in ~/.bashrc
    source <(packrunner completion zsh)        in ~/.zshrc, after compinit
    packrunner completion fish | source        in ~/.config/fish/config.fish
    """
    from packrunner.cli import completions

    session_of(ctx).result(completions.script(shell).rstrip("\n"))
    return 0
