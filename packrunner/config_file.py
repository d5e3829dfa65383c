"""Changing config.toml without touching what somebody wrote around its values: comments, order, blank lines."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from packrunner import config
from packrunner.confined import write_atomic
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.paths import readable

if TYPE_CHECKING:
    from packrunner.config import Setting

_MODE = 0o600


def parse_value(setting: Setting, texts: tuple[str, ...]) -> Any:
    """What was typed as a value of the setting, checked. Raises UsageError (`config-value`, `usage`)."""
    if len(texts) > 1 and setting.kind != "list":
        raise UsageError(
            f"{setting.name} takes one value", slug="usage", tries=(f"packrunner config {setting.name} VALUE",)
        )
    if setting.kind == "list":
        return list(texts)
    found = config.from_environment(setting, {setting.variable: texts[0]})
    if found is None:
        raise UsageError(
            f"{setting.name} cannot be empty", slug="config-value", tries=(f"packrunner config --unset {setting.name}",)
        )
    return found


def change(path: str, name: str, value: Any) -> None:
    """Give a setting a value, None for none; the rest of the file stays as it is.

    Raises UsageError for a file that is wrong already, or whose value is written in a way that cannot be replaced
    alone; StoreError.
    """
    text = _read(path)
    config.parse(text, where=readable(path))  # refuses what is wrong already
    before = tomllib.loads(text)
    wanted = {key: old for key, old in before.items() if key != name} | ({} if value is None else {name: value})
    changed = _edited(text, name, value)
    try:
        right = tomllib.loads(changed) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise UsageError(
            f"{readable(path)} sets {name} over several lines, which is left to you", slug="config", at=readable(path)
        )
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        write_atomic(path, changed.encode(), mode=_MODE)
    except OSError as error:
        raise disk_error(error, readable(path)) from error


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().removeprefix(b"\xef\xbb\xbf").decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{readable(path)} cannot be read: {reason}", slug="config") from error


def _edited(text: str, name: str, value: Any) -> str:
    import tomli_w

    line = "" if value is None else tomli_w.dumps({name: value}, multiline_strings=False)
    if isinstance(value, list):
        line = f"{name} = [{', '.join(tomli_w.dumps({'x': one})[4:].rstrip() for one in value)}]\n"
    found = re.compile(rf"^[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*=.*(\n|\Z)", re.MULTILINE)
    if old := found.search(text):
        remark = _remark(old[0].rstrip("\n")) if line else ""
        kept = f"{line.rstrip()}{remark}\n" if remark else line
        return text[: old.start()] + kept + text[old.end() :]
    return text + ("\n" if text and not text.endswith("\n") else "") + line


def _remark(line: str) -> str:
    """The comment at the end of a line, with the space before it."""
    for found in re.finditer(r"[ \t]+#", line):
        try:
            tomllib.loads(line[: found.start()])
        except tomllib.TOMLDecodeError:  # it is inside of the value
            continue
        return line[found.start() :]
    return ""
