"""YAML as people write it: short lists of words on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORT = 90
_WIDTH = 4096


def dump(value: Any, comment: str = "") -> str:
    """A document, after `comment`, whose lines become comments; without the last line end."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - yaml's name
            return super().increase_indent(flow, indentless=False)

        def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
            items = list(data)
            short = all(isinstance(item, str) for item in items) and sum(len(item) + 4 for item in items) < _SHORT
            return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)

    Dumper.add_representer(list, Dumper.represent_list)
    head = "".join(f"# {line}\n" if line else "#\n" for line in comment.splitlines())
    return (head + yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)).rstrip("\n")
