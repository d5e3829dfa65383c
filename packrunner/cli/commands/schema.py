"""`packrunner schema`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    file: Annotated[Literal["project", "builder", "package", "config"], typer.Argument(metavar="FILE")],
) -> int:
    """Print the JSON schema of a file, for editors that check TOML by schemas. FILE is project, builder, package or
    config: project.toml, builder.toml, package.toml and packrunner's own config.toml.

    packrunner schema project > project.schema.json
    """
    import json

    from packrunner.cli import configuring
    from packrunner.formats import schemas

    found = configuring.schema() if file == "config" else schemas.schema(file)
    session_of(ctx).result(json.dumps(found, indent=2))
    return 0
