"""The body of `packrunner config`: settings, their values and origins, and changing config.toml."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import config, paths
from packrunner.console.layout import table
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.session import Session
    from packrunner.config import Setting

PROJECT_FILE = "project.toml"

_WORDS = {
    "get": "packrunner config {0}",
    "list": "packrunner config",
    "set": "packrunner config {0} {1}",
    "show": "packrunner config",
    "unset": "packrunner config --unset {0}",
}
"""What other programs say in front of a setting, and what is said here."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, its value here and now, and where that comes from."""

    name: str
    value: Any
    origin: str
    variable: str
    in_config: bool
    doc: str


def show(session: Session, *, json: bool) -> int:
    """Every setting that has a place to be set in."""
    rows = _rows(session)
    if json:
        session.document(
            "config/1", {"file": paths.config_file(), "settings": [msgspec.to_builtins(one) for one in rows]}
        )
        return 0
    shown: list[tuple[str, ...]] = [(one.name, _plain(one.value), one.origin, one.doc) for one in rows]
    lines = table(("SETTING", "VALUE", "FROM", "WHAT IT IS"), shown)
    session.result("\n".join([*lines, "", f"config.toml is {paths.readable(paths.config_file())}"]))
    return 0


def get(session: Session, name: str, *, json: bool) -> int:
    """One value, lists a line each; nothing where there is none."""
    row = next(one for one in _rows(session) if one.name == _setting(name).name)
    if json:
        session.document("setting/1", msgspec.to_builtins(row))
    elif row.value not in (None, ()):
        session.result("\n".join(row.value) if isinstance(row.value, (list, tuple)) else _plain(row.value))
    return 0


def put(session: Session, name: str, values: Sequence[str]) -> int:
    """Write a value into config.toml; says when something stronger hides it."""
    from packrunner import config_file, events

    setting = _setting(name, values)
    config_file.change(paths.config_file(), name, config_file.parse_value(setting, tuple(values)))
    now = next(one for one in _rows(session) if one.name == name)
    if now.origin != "config.toml":
        text = f"{name} is {_plain(now.value)} here all the same: {now.origin} sets it"
        session.renderer().emit(events.Warned(text=text))
    return 0


def drop(name: str) -> int:
    """Take a setting out of config.toml."""
    from packrunner import config_file

    config_file.change(paths.config_file(), _setting(name).name, None)
    return 0


def schema() -> dict[str, Any]:
    """The JSON schema of config.toml."""
    from packrunner.formats.schemas import DIALECT

    kinds: dict[str, dict[str, Any]] = {
        "text": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}},
        "switch": {"type": "boolean"},
    }
    properties = {}
    for setting in config.SETTINGS.values():
        if setting.in_config:
            default = {} if setting.default is None else {"default": setting.default}
            choices = {"enum": list(setting.choices)} if setting.choices else {}
            properties[setting.name] = {"description": setting.doc, **kinds[setting.kind], **choices, **default}
    return {
        "$schema": DIALECT,
        "title": "config.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _setting(name: str, given: Sequence[str] = ()) -> Setting:
    """A setting that config.toml may have; `given` stands behind it. Raises UsageError (`config-key`)."""
    found = config.SETTINGS.get(name)
    if found is not None and found.in_config:
        return found
    from difflib import get_close_matches

    known = [one.name for one in config.SETTINGS.values() if one.in_config]
    cause = f"it is set by {found.flag} or {found.variable}" if found else None
    close = get_close_matches(name, known, n=1)
    if name in _WORDS:
        raise UsageError(
            f"packrunner config takes the setting itself, without {name!r}",
            slug="config-key",
            tries=(_WORDS[name].format(next(iter(given), "SETTING"), shlex.join(given[1:]) or "VALUE"),),
        )
    raise UsageError(
        f"{name} is no setting of config.toml",
        slug="config-key",
        cause=cause,
        tries=tuple(f"packrunner config {one}" for one in close) or ("packrunner config, for all of them",),
    )


def _rows(session: Session) -> list[Row]:
    file, project = config.load(), _project()
    rows = []
    for setting in config.SETTINGS.values():
        if not setting.in_config:
            continue
        found = config.resolve(setting.name, environ=session.environ, project=project.get(setting.name), config=file)
        origin = setting.variable if found.origin == "environment" else found.origin
        rows.append(
            Row(
                name=setting.name,
                value=found.value,
                origin="config.toml" if origin == "config" else origin,
                variable=setting.variable,
                in_config=setting.name in file.values,
                doc=setting.doc,
            )
        )
    return rows


def _project() -> dict[str, str]:
    """What project.toml of this directory says that is a setting too."""
    from packrunner.formats import project

    try:
        with open(PROJECT_FILE, "rb") as file:
            found = project.read(file.read(), where=PROJECT_FILE)
    except OSError:
        return {}
    return {"builder": found.builder} if found.builder else {}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)
