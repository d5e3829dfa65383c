"""What `packrunner buildpack package` is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import config, paths
from packrunner.errors import UsageError
from packrunner.lifecycle import image_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.images.compress import Compression
    from packrunner.lifecycle.wishes import PullPolicy

SUFFIX = ".cnb"


class PackageWish(msgspec.Struct, frozen=True, kw_only=True):
    """What to package, and where it goes: names in the store, or places as locators.

    `config` is a package.toml, None for the directory's own, if it has one. `platforms` are OS, architecture and
    variant; none means this machine's. A name, and a single place, gets the packages for all of them.
    """

    directory: str
    config: str | None
    platforms: tuple[tuple[str, str, str], ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: dict[str, str]
    flat: bool
    apart: frozenset[str]
    push: bool
    compression: Compression
    pull_policy: PullPolicy


def wish(  # noqa: PLR0913  one parameter per flag
    name: str,
    *,
    directory: str,
    config_file: str | None,
    form: str | None,
    targets: Sequence[str],
    tags: Sequence[str],
    labels: Sequence[str],
    push: bool,
    flat: bool,
    apart: Sequence[str],
    compression: str | None,
    pull_policy: str | None,
    environ: Mapping[str, str],
) -> PackageWish:
    """What was asked for. Raises UsageError for what does not go together."""
    is_place = name.partition(":")[0] in image_names.LOCATORS
    is_file = form == "file" or (form is None and (is_place or name.endswith(SUFFIX)))
    if is_file and (push or tags):
        raise UsageError(
            f"{'--push' if push else '--tag'} is for an image, and {name} is a file",
            slug="usage",
            tries=("packrunner buildpack package NAME --push",),
        )
    asked = platforms(targets)
    if apart and not flat:
        raise UsageError("--flatten-exclude goes with --flatten", slug="usage", tries=("--flatten",))
    names = () if is_file else tuple(image_names.image_name(one) for one in (name, *tags))
    if push:
        image_names.check_registries(names)
    here, settings = paths.working_directory(), config.load()

    def setting(key: str, flag: str | None) -> Any:
        return config.resolve(key, flag=flag, environ=environ, config=settings).value

    return PackageWish(
        directory=os.path.normpath(os.path.join(here, directory)),
        config=os.path.join(here, config_file) if config_file else None,
        platforms=asked,
        names=names,
        outputs=_outputs(name, targets, here) if is_file else (),
        labels=dict(label(text) for text in labels),
        flat=flat,
        apart=frozenset(apart),
        push=push,
        compression=setting("compression", compression),
        pull_policy=setting("pull-policy", pull_policy),
    )


def _outputs(name: str, targets: Sequence[str], here: str) -> tuple[str, ...]:
    if name.partition(":")[0] in image_names.LOCATORS:
        return (image_names.output(name, here),)
    stem = name.removesuffix(SUFFIX)
    if len(targets) < 2:
        return (f"oci-archive:{os.path.join(here, stem + SUFFIX)}",)
    files = [f"{stem}-{one.replace('/', '-')}{SUFFIX}" for one in targets]
    return tuple(f"oci-archive:{os.path.join(here, file)}" for file in files)


def platforms(targets: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """OS, architecture and variant of each target. Raises UsageError."""
    found = tuple(_platform(text) for text in targets)
    if len(set(found)) < len(found):
        raise UsageError("--target names a platform twice", slug="usage", cause=", ".join(targets))
    return found


def _platform(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part.replace("-", "").isalnum() for part in parts):
        raise UsageError(
            f"{text!r} is not a platform",
            slug="usage",
            cause="it has to be OS/ARCH or OS/ARCH/VARIANT",
            tries=("--target linux/arm64",),
        )
    if parts[0] != "linux":
        raise UsageError(
            f"images are made for linux, not for {parts[0]}", slug="usage", tries=("--target linux/amd64",)
        )
    return (parts[0], parts[1], parts[2] if len(parts) > 2 else "")


def label(text: str) -> tuple[str, str]:
    """`NAME=VALUE`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"{text!r} is not a label", slug="usage", tries=("--label NAME=VALUE",))
    return name, value
