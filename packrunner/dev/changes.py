"""What happened to the application's tree: the words between the watcher and the running application."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["file", "link", "dir", "gone"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is at `path`, relative to the application, now. `gone` takes everything below it along.

    `mode` has permission bits only, `size` is in bytes, `target` is where a link points.
    """

    path: str
    kind: Kind
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to be made together, parents before what is in them; `seen` is the monotonic time of the first event."""

    changes: tuple[Change, ...]
    seen: float
