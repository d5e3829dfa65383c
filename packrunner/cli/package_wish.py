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

    from packrunner.formats.target import Platform
    from packrunner.images.compress import Compression
    from packrunner.lifecycle.wishes import PullPolicy

SUFFIX = ".cnb"


class PackageWish(msgspec.Struct, frozen=True, kw_only=True):
    """What to package, and where it goes: names in the store, or places as locators.

    `config` is a package.toml, None for the directory's own, if it has one. `platforms` are what it is for;
    none means this machine's. A name, and a single place, gets the packages for all of them.
    """

    directory: str
    config: str | None
    platforms: tuple[Platform, ...]
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
    asked = platforms(targets, apart=is_file and not is_place)
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
        outputs=_outputs(name, asked, here) if is_file else (),
        labels=dict(label(text) for text in labels),
        flat=flat,
        apart=frozenset(apart),
        push=push,
        compression=setting("compression", compression),
        pull_policy=setting("pull-policy", pull_policy),
    )


def _outputs(name: str, asked: Sequence[Platform], here: str) -> tuple[str, ...]:
    if name.partition(":")[0] in image_names.LOCATORS:
        return (image_names.output(name, here),)
    stem = name.removesuffix(SUFFIX)
    if len(asked) < 2:
        return (f"oci-archive:{os.path.join(here, stem + SUFFIX)}",)
    files = [f"{stem}-{one.folder.replace('/', '-').replace('@', '-')}{SUFFIX}" for one in asked]
    return tuple(f"oci-archive:{os.path.join(here, file)}" for file in files)


def platforms(targets: Sequence[str], *, apart: bool = False) -> tuple[Platform, ...]:
    """The platforms of all targets; `apart`: each gets a file of its own. Raises UsageError.

    Under one name, readers tell images apart by OS, architecture and variant, and by nothing else.
    """
    from packrunner.formats import target

    found = tuple(one for text in targets for one in target.platforms(text))
    if len({one.folder if apart else one.name for one in found}) == len(found):
        return found
    if len(set(found)) < len(found):
        raise UsageError("--target names a platform twice", slug="usage", cause=", ".join(targets))
    raise UsageError(
        "under one name there is one image for each platform, whatever the distribution",
        slug="usage",
        cause=", ".join(map(str, found)),
        tries=(f"--target {found[0]}, and another name for each further distribution",),
    )


def label(text: str) -> tuple[str, str]:
    """`NAME=VALUE`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"{text!r} is not a label", slug="usage", tries=("--label NAME=VALUE",))
    return name, value
