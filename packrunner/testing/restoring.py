"""What a platform brings back of the last build (RES-08 - RES-16): a test has no store, so what goes is removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from packrunner.formats import toml
from packrunner.formats.layer import read_layer

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("launch.toml", "build.toml")


def restore(layers: Path) -> None:
    """Leave of a buildpack's layers directory what the next build may find there."""
    kept = {"store.toml"}
    for path in layers.glob("*.toml"):
        if path.name not in {*_FILES, *kept}:
            kept |= _layer(path)
    for path in layers.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _layer(path: Path) -> set[str]:
    """What stays of a layer; its .toml has its metadata only from now on."""
    name = path.name.removesuffix(".toml")
    file = read_layer(path.read_bytes(), where=path.name)
    sboms = {one.name for one in path.parent.glob(f"{name}.sbom.*.json")}
    path.write_bytes(toml.encode({"metadata": file.metadata}))
    if file.types.cache:
        return {path.name, name, *sboms} if (path.parent / name).is_dir() else set()
    return {path.name, *sboms} if file.types.launch and not file.types.build else set()
