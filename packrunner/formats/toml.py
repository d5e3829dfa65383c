"""The edge to TOML: bytes to typed values and back, foreign errors turned into ours with file, line and key."""

from __future__ import annotations

import re
import tomllib
from codecs import BOM_UTF8
from typing import Any, TypeVar, get_args

import msgspec
import tomli_w

from packrunner.errors import BuildError, PackrunnerError
from packrunner.formats.positions import numbered, place

T = TypeVar("T")

_PATH = re.compile(r" - at `\$(?P<path>.*)`$")


_UNKNOWN = re.compile(r"contains unknown field `(?P<name>[^`]*)`")
_LINE = re.compile(r" \(at line (?P<line>\d+), column \d+\)$")


def decode(data: bytes, kind: type[T], *, where: str, error: type[PackrunnerError] = BuildError) -> T:
    """Read TOML as `kind`; raises `error`, naming `where` and the line or key that is wrong."""
    try:
        text = text_of(data)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise error(f"{where} is not UTF-8", slug="toml", at=f"{where}:{line}") from e
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        found = _LINE.search(str(e))
        line = int(found["line"]) if found else text.count("\n") + 1
        raise error(f"{where} is not TOML: {e}", slug="toml", at=f"{where}:{line}") from e
    return convert(table, kind, where=where, error=error, text=text)


def text_of(data: bytes) -> str:
    """The text of a TOML file, without the mark that editors of Windows begin files with, as Go's readers take it.

    Raises UnicodeDecodeError.
    """
    return data.removeprefix(BOM_UTF8).decode()


def convert(
    table: Any,
    kind: type[T],
    *,
    where: str,
    error: type[PackrunnerError] = BuildError,
    text: str = "",
    above: str = "",
) -> T:
    """Turn plain values into `kind`; raises `error`, naming `where`, the key that is wrong and its line in `text`.

    `above` is the key of the table, where it is not the whole of the text.
    """
    try:
        return msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError as e:
        found = _PATH.search(str(e))
        key = numbered(table, kind, found["path"].lstrip(".")) if found else ""
        plain = _PATH.sub("", str(e))
        plain = plain[:1].lower() + plain[1:]
        unknown = _UNKNOWN.search(plain)
        if unknown:
            near = nearest(unknown["name"], kind)
            plain = f"there is no key {unknown['name']!r}" + (f": did you mean {near!r}" if near else "")
            key = f"{key}.{unknown['name']}".lstrip(".")
        raise error(f"{where}: {plain}", slug="toml", at=_at(text, above, key, where)) from e


def _at(text: str, above: str, key: str, where: str) -> str:
    whole = ".".join(filter(None, (above, key)))
    return place(text, whole, where) if whole else where


def nearest(name: str, kind: Any) -> str:
    """The key of a file of this kind, anywhere in it, that `name` is most like; "" where it is like none."""
    # 4 ms that only a typo should cost.
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, _keys(kind, set()), n=1)), "")


def _keys(kind: Any, seen: set[type]) -> list[str]:
    found: list[str] = []
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in seen:
            seen.add(one)
            for field in msgspec.structs.fields(one):
                found += [field.encode_name, *_keys(field.type, seen)]
        elif one is not kind:
            found += _keys(one, seen)
    return found


def encode(value: Any) -> bytes:
    """Write a Struct or mapping as TOML with keys in the given order; None values are left out."""
    return tomli_w.dumps(_plain(value)).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value, builtin_types=(bytes,))
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
