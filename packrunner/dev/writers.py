"""Rules written for other tools: a module for each, with `render`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packrunner.dev.covering import Project
    from packrunner.formats.sync import SyncRules


def write(form: str, rules: SyncRules, project: Project) -> str:
    """The rules in the format `form`."""
    text: str = import_module(f"packrunner.dev.{form}").render(rules, project)
    return text
