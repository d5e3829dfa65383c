"""What `packrunner builder create` is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import config, paths
from packrunner.cli.package_wish import label, platforms
from packrunner.lifecycle import image_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.formats.target import Platform
    from packrunner.images.compress import Compression
    from packrunner.lifecycle.wishes import PullPolicy

FILE = "builder.toml"


class BuilderWish(msgspec.Struct, frozen=True, kw_only=True):
    """A builder.toml, and where the builder goes: names in the store, further places as locators.

    `platforms` are what it is for; none means this machine's.
    """

    config: str
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: dict[str, str]
    flat: tuple[frozenset[str], ...]
    push: bool
    load: bool
    compression: Compression
    pull_policy: PullPolicy
    docker_host: str
    quiet: bool = False
    platforms: tuple[Platform, ...] = ()


def wish(  # noqa: PLR0913  one parameter per flag
    name: str,
    *,
    config_file: str | None,
    tags: Sequence[str],
    outputs: Sequence[str],
    labels: Sequence[str],
    flatten: Sequence[str],
    push: bool,
    load: bool,
    compression: str | None,
    pull_policy: str | None,
    docker_host: str | None,
    environ: Mapping[str, str],
    quiet: bool = False,
    targets: Sequence[str] = (),
) -> BuilderWish:
    """What was asked for. Raises UsageError."""
    here, settings = paths.working_directory(), config.load()
    names = tuple(image_names.image_name(one) for one in (name, *tags))
    if push:
        image_names.check_registries(names)

    def setting(key: str, flag: str | None) -> Any:
        return config.resolve(key, flag=flag, environ=environ, config=settings).value or ""

    return BuilderWish(
        config=os.path.join(here, config_file or FILE),
        names=names,
        outputs=tuple(image_names.output(text, here) for text in outputs),
        labels=dict(label(text) for text in labels),
        flat=tuple(frozenset(filter(None, map(str.strip, text.split(",")))) for text in flatten),
        push=push,
        load=load,
        compression=setting("compression", compression),
        pull_policy=setting("pull-policy", pull_policy),
        docker_host=setting("docker-host", docker_host),
        quiet=quiet,
        platforms=platforms(targets),
    )


def here(name: str, config_file: str, environ: Mapping[str, str]) -> BuilderWish:
    """A builder that is made into the local store and nowhere else."""
    return wish(
        name,
        config_file=config_file,
        tags=(),
        outputs=(),
        labels=(),
        flatten=(),
        push=False,
        load=False,
        compression=None,
        pull_policy=None,
        docker_host=None,
        environ=environ,
    )
