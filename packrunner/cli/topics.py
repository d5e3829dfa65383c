"""The pages of `packrunner help`, all of them offline: those of docs/reference are shipped beside the code."""

from __future__ import annotations

import os
import re
import textwrap
from difflib import get_close_matches
from itertools import groupby
from typing import TYPE_CHECKING

from packrunner.errors import PackrunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, _GAP, _LAST = 120, "   ", 20
"""How wide a page is, as its prose, what is between the columns of a table, and the least that its last column has."""

FRONT = """\
Build container images from source, without a Dockerfile, a daemon or root.

  packrunner build shop                      build the application in this directory
  packrunner run shop                        start it
  packrunner build shop -b python            choose the buildpack yourself

Application   build  run  plan  detect
Development   dev  sync-rules  compose
Images        images  inspect  rebase  rm  prune
              push  pull  load  save  login  logout
Composing     buildpack  builder
Platforms     lifecycle
Machine       config  schema  doctor  completion
Help          packrunner COMMAND --help, packrunner help exit-codes|environment|configuration|project|bindings|errors"""

PAGES = ("exit-codes", "environment", "configuration", "project", "bindings", "errors")


def text(topic: str | None, code: str | None = None) -> str:
    """The page about a command, a topic or the code of an error. Raises UsageError."""
    if topic is None:
        return FRONT
    if topic == "errors" and code is not None:
        return _error(code)
    if topic in PAGES:
        return for_terminal(page(topic))
    from packrunner.cli import app

    name = f"{topic} {code}" if code and app.members(topic) else topic
    if app.members(name):
        return "\n".join(app.group_page(name))
    if name in app.COMMANDS:
        import click

        command = app.load(name)
        return "\n".join(app.help_page(command, click.Context(command, info_name=f"packrunner {name}")))
    return _error(name)


def page(name: str) -> str:
    """The Markdown of a reference page. Raises PackrunnerError when the installation lacks it."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # An installation has the pages in the package, a checkout beside it.
    for directory in (os.path.join(package, "_docs"), os.path.join(os.path.dirname(package), "docs", "reference")):
        try:
            with open(os.path.join(directory, f"{name}.md"), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            continue
    raise PackrunnerError(f"this installation lacks its page about {name}", slug="installation")


def for_terminal(markdown: str) -> str:
    """Markdown as plain text: headings without marks, tables in columns and without rulers."""
    lines = [line for line in markdown.strip().splitlines() if not re.fullmatch(r"\|[\s:|-]+\||<!--.*-->", line)]
    shown: list[str] = []
    for is_table, found in groupby(map(_plain_line, lines), lambda line: line.startswith("|")):
        block = list(found)
        shown += _columns(block) if is_table else block
    return "\n".join(shown)


def _columns(rows: list[str]) -> Iterator[str]:
    """A table as wide as its cells; of what is wider than a page the last column is wrapped."""
    table = [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    room = max(_LAST, WIDTH - sum(widths) - len(_GAP) * len(widths) - 2)
    for *cells, last in table:
        head = "".join(cell.ljust(width) + _GAP for cell, width in zip(cells, widths, strict=True))
        for i, part in enumerate(textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]):
            yield f"  {' ' * len(head) if i else head}{part}".rstrip()


def _plain_line(line: str) -> str:
    line = re.sub(r"^#+ ", "", line)
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", line).replace("**", "")


def error_sections(markdown: str) -> dict[str, str]:
    """The sections of errors.md by slug: a heading that is one word, with or without backticks."""
    parts = re.split(r"(?m)^#{2,4} `?([a-z0-9-]+)`?[ \t]*$", markdown)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _error(code: str) -> str:
    sections = error_sections(page("errors"))
    if code in sections:
        return f"error[{code}]\n\n{for_terminal(sections[code])}"
    from packrunner.cli.app import COMMANDS, first_words

    near = get_close_matches(code, dict.fromkeys([*sections, *PAGES, *first_words(), *COMMANDS]), n=2)
    raise UsageError(
        f"there is no help about {code}",
        slug="usage",
        tries=tuple(f"packrunner help {match}" for match in near),
        more="packrunner help",
    )
