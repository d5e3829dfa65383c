"""TOML, as much as a buildpack needs: a writer, and a reader that imports tomllib only for what is not plain.

`import tomllib` costs as much as starting the interpreter again. What a lifecycle hands back is nearly always a flat
table of short strings, which a line-by-line reader understands; for anything else it gives way to tomllib.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Value: TypeAlias = str | bool | int | float | Sequence["Value"] | Mapping[str, "Value"]
    Table: TypeAlias = Mapping[str, Value]

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def read(path: str) -> dict[str, object]:
    """The file as a dict; an absent or empty file is an empty one. Raises ValueError for what is not TOML."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    plain = read_plain(text)
    if plain is not None:
        return plain
    import tomllib

    return tomllib.loads(text)


def read_plain(text: str) -> dict[str, object] | None:
    """Read one level of tables of strings, booleans and integers; None for everything else, valid or not."""
    if not text.isprintable() and not text.replace("\n", "").isprintable():
        return None
    root: dict[str, object] = {}
    table = root
    for raw in text.split("\n"):
        line = raw.strip(" ")
        if not line or line[0] == "#":
            continue
        if line[0] == "[":
            name = line[1:-1]
            if line[-1] != "]" or name in root or not _is_bare(name):
                return None
            table = {}
            root[name] = table
            continue
        key, equals, literal = line.partition(" = ")
        name = key if _is_bare(key) else _unquote(key) or ""
        value = _scalar(literal)
        if not equals or not name or value is None or name in table:
            return None
        table[name] = value
    return root


def _scalar(literal: str) -> str | bool | int | None:
    if literal in {"true", "false"}:
        return literal == "true"
    if literal.isascii() and literal.isdigit() and (literal == "0" or literal[0] != "0"):
        return int(literal)
    return _unquote(literal)


def _unquote(literal: str) -> str | None:
    """The content of a basic string without escapes."""
    if len(literal) < 2 or literal[0] != '"' or literal[-1] != '"':
        return None
    content = literal[1:-1]
    return None if '"' in content or "\\" in content else content


def _is_bare(key: str) -> bool:
    return bool(key) and _BARE.issuperset(key)


def dumps(table: Table) -> str:
    """Write `table` in the order of its keys: plain values first, then tables, then lists of tables."""
    lines: list[str] = []
    _write_table(table, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n" if lines else ""


def _write_table(table: Table, path: tuple[str, ...], lines: list[str]) -> None:
    nested: list[tuple[str, str, Table]] = []
    for key, value in table.items():
        name = ".".join(_key(part) for part in (*path, key))
        if isinstance(value, dict):
            nested.append((key, f"[{name}]", value))
        elif isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
            nested.extend((key, f"[[{name}]]", item) for item in value)
        else:
            lines.append(f"{_key(key)} = {_literal(value)}")
    for key, header, inner in nested:
        lines.extend(("", header))
        _write_table(inner, (*path, key), lines)


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(key)} = {_literal(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML has no way to write a {type(value).__name__}")


def _key(key: str) -> str:
    return key if _is_bare(key) else _string(key)


def _string(text: str) -> str:
    if '"' not in text and "\\" not in text and text.isprintable():
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c) or (c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}") for c in text) + '"'
