"""What a builder is recognised by the next time: "nothing changed", as of builds (cli/remembering.py)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from packrunner import paths, record
from packrunner.catalog import creating
from packrunner.cli.remembering import image_path
from packrunner.console.units import number
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.wiring.beneath import Beneath
    from packrunner.cli.wiring.bringing import Opened
    from packrunner.formats.builder_file import BuilderFile
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore


def inputs(
    wish: BuilderWish, file: BuilderFile, modules: Iterable[StagedBuildpack], opened: Opened, under: Beneath
) -> list[str]:
    """Everything that the builder is made of: builder.toml first, then what the wish itself was read from."""
    uri = file.lifecycle.uri.removeprefix("file://")
    lifecycle = os.path.join(os.path.dirname(wish.config), uri) if uri else ""
    own = (f"{paths.cache_dir()}{os.sep}", f"{paths.data_dir()}{os.sep}")
    return [
        wish.config,
        paths.config_file(),
        creating.lock_file(wish.config),
        *under.watched,
        *([lifecycle] if os.path.isfile(lifecycle) else []),
        *opened.elsewhere.inputs,
        # What was brought from elsewhere lies in our own directories, by its digest.
        *(one.source for one in modules if not one.source.startswith(own)),
        *([opened.sdk_dir] if any(one.sdk for one in modules) else []),
        opened.programs_dir,
    ]


def remember(
    kept: record.Record,
    scan: record.Scan,
    wish: BuilderWish,
    image: Image,
    *,
    under: Beneath,
    opened: Opened,
    modules: int,
    store: LocalStore,
) -> None:
    """Record what was made; not what was sent elsewhere, or while an input was still changing."""
    if wish.push or wish.load or not scan.settled:
        kept.forget()
        return
    digests = [image.digest, image.config.digest, *(layer.blob.digest for layer in image.layers)]
    named = {ImageName.parse(name).tagged: str(image.digest) for name in wish.names}
    packages = {ImageName.parse(name).tagged: it for name, it in opened.elsewhere.images.items() if "@" not in name}
    outputs = [image_path(output) for output in wish.outputs]
    kept.save(
        {
            "environment": record.environment_digest(os.environ, ()),
            "environment_names": [],
            "skip": [],
            "settings": [1],
            "always": opened.elsewhere.moving or opened.finder.moving or under.moving,
            "quiet": wish.quiet,
            "request": None,
            "image": {
                "index": store.index_path,
                "names": {**packages, **under.names, **named},
                "blobs": [[path, os.stat(path).st_size] for path in map(store.blob_path, digests)],
            },
            "outputs": [[path, record.output_digest(path)] for path in outputs],
            "when": time.time(),
            "summary": ", ".join((number(modules, "buildpack"), under.reference)),
            "elsewhere": {},
            "result": "\n".join(f"{name}@{image.digest}" for name in wish.names),
        },
        scan,
    )
