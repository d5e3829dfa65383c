"""report.toml: what export wrote (EXP-31)."""

from __future__ import annotations

import msgspec


class ReportImage(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`[image]`: digest and manifest size for a registry or a layout, the id for a daemon."""

    tags: tuple[str, ...]
    digest: str = ""
    image_id: str = ""
    manifest_size: int = 0


class Report(msgspec.Struct, frozen=True):
    """report.toml; written after the image has been saved."""

    image: ReportImage
