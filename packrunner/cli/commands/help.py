"""`packrunner help`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]")] = None,
    code: Annotated[str | None, typer.Argument(metavar="[CODE]")] = None,
) -> int:
    """Show help: TOPIC is a command, exit-codes, environment, configuration, errors, or the code of an error.

    packrunner help build
    packrunner help exit-codes
    packrunner help errors disk-full       also: packrunner help disk-full
    """
    from packrunner.cli import topics

    session_of(ctx).result(topics.text(topic, code))
    return 0
