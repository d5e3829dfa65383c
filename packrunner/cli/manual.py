"""The reference pages that are made from the code: `python -m packrunner.cli.manual DIRECTORY` writes them.

cli.md and sdk.md are made whole, the tables between two marks in configuration.md and environment.md; a test compares.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import click

from packrunner.cli import app, manual_sdk, topics
from packrunner.config import SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN, END = "<!-- begin: made by packrunner.cli.manual -->", "<!-- end -->"


def cli_page() -> str:
    """cli.md: every help page."""
    parts = [
        "# Command line",
        "What `packrunner help COMMAND` prints. This page is made from the program: `make docs`.",
        f"```text\n{topics.FRONT}\n```",
    ]
    for name in app.COMMANDS:
        command = app.load(name)
        lines = app.help_page(command, click.Context(command, info_name=f"packrunner {name}"))
        parts.append(f"## packrunner {name}")
        parts.append("```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts) + "\n"


def config_table() -> str:
    """The keys of config.toml."""
    rows = [("Key", "Values", "Default", "Meaning"), ("---",) * 4]
    rows += [(f"`{s.name}`", _values(s), _default(s), s.doc) for s in SETTINGS.values() if s.in_config]
    return _table(rows)


def environment_table() -> str:
    """The variables that set what flags and keys set."""
    rows = [("Variable", "Values", "Same as", "Meaning"), ("---",) * 4]
    rows += [(f"`{s.variable}`", _values(s), f"`{s.flag or s.name}`", s.doc) for s in SETTINGS.values()]
    return _table(rows)


def _values(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    return {"text": "text", "list": "texts, separated by commas", "switch": "true or false", "count": "number"}[
        setting.kind
    ]


def _default(setting: Setting) -> str:
    if setting.default is None:
        return "none"
    return f"`{str(setting.default).lower() if setting.kind == 'switch' else setting.default}`"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def filled(page: str, table: str) -> str:
    """A page with its table between the marks made anew. Raises ValueError for a page without marks."""
    marked = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
    if not marked.search(page):
        raise ValueError("the page has no marks")
    return marked.sub(lambda _: f"{BEGIN}\n{table}\n{END}", page)


def pages(directory: str) -> dict[str, str]:
    """Every page that is made, by its path, as it has to be."""
    found = {os.path.join(directory, "cli.md"): cli_page(), os.path.join(directory, "sdk.md"): manual_sdk.page()}
    for name, table in (("configuration.md", config_table()), ("environment.md", environment_table())):
        path = os.path.join(directory, name)
        with open(path, encoding="utf-8") as file:
            found[path] = filled(file.read(), table)
    return found


if __name__ == "__main__":
    for path, text in pages(sys.argv[1]).items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
