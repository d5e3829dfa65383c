"""Hostile tar archives to trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from packrunner.names import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    entries: int = 2_000_000
    bytes: int = 64 << 30
    ratio: int = 400
    name: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    entries: int
    bytes: int
    warnings: tuple[str, ...] = ()


def extract(
    stream: BinaryIO,
    root_path: str,
    *,
    uid_gid: tuple[int, int] | None = None,
    whiteouts: Literal["apply", "overlay", "reject"] = "apply",
    limits: Limits = Limits(),
    prefix: str = "",
    digest: Digest | None = None,
    diff_id: Digest | None = None,
) -> Extracted:
    """root_path must exist. `prefix` ("layers/x/y"): only what is below is written, with the prefix taken off.
    digest: of the bytes as stored; diff_id: of the uncompressed tar; both verified. As root with uid_gid None the
    header's owners are applied. "reject" is for archives that are no layers: absolute names, whiteouts, devices refused.
    """
    raise NotImplementedError
