"""Wheels made by hand, so that installing needs no package index."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make_wheel(
    directory: Path, name: str, *, files: Mapping[str, str] | None = None, scripts: tuple[str, ...] = ()
) -> str:
    """Write `<name>-1.0-py3-none-any.whl` with these modules and console scripts; returns its file name."""
    info = f"{name}-1.0.dist-info"
    content = {f"{name}/__init__.py": "def main() -> None:\n    pass\n", **(files or {})}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries = "".join(f"{script} = {name}:main\n" for script in scripts)
    content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}"
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    directory.mkdir(parents=True, exist_ok=True)
    file_name = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(directory / file_name, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return file_name
