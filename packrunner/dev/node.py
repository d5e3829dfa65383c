"""One entry of the model of the application's tree."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.dev.changes import Change

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

NodeKind = Literal["file", "link", "dir"]


class Node(msgspec.Struct, kw_only=True):
    """What the other side has at a path, and how the file looked on our disk when it got it."""

    kind: NodeKind
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: str = ""
    stamp: tuple[int, ...] = ()
    """Empty where it is not known whether the other side has it."""
    digest: bytes = b""
    """SHA-256, where it is known."""
    sure: bool = False
    """Whether the stamp alone tells: a change at the very moment of the look could have left the same one."""
    children: dict[str, Node] = msgspec.field(default_factory=dict)

    def find(self, path: str) -> Node | None:
        """The entry at a path below this one; "" is itself."""
        node: Node | None = self
        for name in path.split("/") if path else ():
            if node is None:
                return None
            node = node.children.get(name)
        return node

    def below(self, base: str = "") -> Iterator[tuple[str, Node]]:
        """All entries below, parents first."""
        pending = [(base, self)]
        while pending:
            base, node = pending.pop()
            for name in sorted(node.children):
                child = node.children[name]
                path = f"{base}/{name}" if base else name
                yield path, child
                if child.children:
                    pending.append((path, child))

    def change(self, path: str) -> Change:
        """What is to be sent so that the other side has this."""
        return Change(
            path=path, kind=self.kind, mode=self.mode, size=self.size, mtime_ns=self.mtime_ns, target=self.target
        )


def kind_of(found: os.stat_result) -> NodeKind | None:
    """The kind of what was found; None for what cannot be sent: devices, sockets, FIFOs."""
    if stat.S_ISREG(found.st_mode):
        return "file"
    if stat.S_ISDIR(found.st_mode):
        return "dir"
    return "link" if stat.S_ISLNK(found.st_mode) else None


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """What tells a file from its next version, nearly always."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode)
