"""The edge to TOML: bytes to typed values and back, foreign errors turned into ours with file, line and key."""

from __future__ import annotations

import re
import tomllib
from typing import Any, TypeVar

import msgspec
import tomli_w

from packrunner.errors import BuildError, PackrunnerError

T = TypeVar("T")

_PATH = re.compile(r" - at `\$(?P<path>.*)`$")


def decode(data: bytes, kind: type[T], *, where: str, error: type[PackrunnerError] = BuildError) -> T:
    """Read TOML as `kind`; raises `error`, naming `where` and the line or key that is wrong."""
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError as e:
        raise error(f"{where} is not UTF-8", slug="toml", at=f"{where}, byte {e.start}") from e
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise error(f"{where} is not TOML: {e}", slug="toml", at=where) from e
    return convert(table, kind, where=where, error=error)


def convert(table: Any, kind: type[T], *, where: str, error: type[PackrunnerError] = BuildError) -> T:
    """Turn plain values into `kind`; raises `error`, naming `where` and the key that is wrong."""
    try:
        return msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError as e:
        text = str(e)
        found = _PATH.search(text)
        key = found["path"].lstrip(".") if found else ""
        plain = _PATH.sub("", text)
        plain = plain[:1].lower() + plain[1:]
        raise error(f"{where}: {plain}", slug="toml", at=f"{where}, key {key}" if key else where) from e


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
