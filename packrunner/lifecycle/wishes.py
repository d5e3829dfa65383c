"""What a build may be asked beyond its source and buildpacks: where the image goes, and what is to be another way.

Part of a recorded request, so this imports next to nothing.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packrunner.errors import UsageError
from packrunner.lifecycle.volumes import Volume, parse_volume
from packrunner.names import Digest, ImageName, ProcessType
from packrunner.workspace import APP_DIR

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.lifecycle.given import Flags

PullPolicy = Literal["always", "if-not-present", "never"]
CacheKind = Literal["dir", "volume", "image"]

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?")
_CACHE_KEYS = frozenset({"type", "format", "name", "source", "path"})
_EXEC_ENV = re.compile(r"[A-Za-z0-9.-]+")
_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Where the image goes besides the local store, and what may be asked of registries.

    `cache` is where the layers for the next build are kept beside this machine's own cache, () for nowhere.
    """

    tags: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    compression: Literal["gzip", "zstd"] = "gzip"
    insecure: tuple[str, ...] = ()
    pull_policy: PullPolicy = "if-not-present"
    previous: str = ""
    cache: tuple[CacheKind, str] | tuple[()] = ()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is another way than the builder has it; None, False and empty values leave it as it is.

    `created` is `now` or a number of seconds since 1970.
    """

    platform: str = ""
    created: str = ""
    process: str = ""
    exec_env: str = "production"
    app_dir: str = APP_DIR
    uid: int | None = None
    gid: int | None = None
    volumes: tuple[Volume, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    without_system: bool = False
    sbom_dir: str = ""
    report_dir: str = ""


def delivery(flags: Flags, pick: Callable[[str, Any], Any]) -> tuple[Delivery, list[str]]:
    """Where the image goes, and sentences about what has no effect. Raises UsageError."""
    caches, remarks = _caches(flags.caches, flags.cwd)
    image = pick("cache-image", flags.cache_image)
    if image:
        caches.append(("image", reference(image)))
    if len(set(caches)) > 1:
        raise UsageError(
            "there can be one cache, and several are named",
            slug="cache",
            cause=", ".join(f"{kind} {place}" for kind, place in caches),
        )
    previous = pick("previous-image", flags.previous)
    return (
        Delivery(
            tags=tuple(dict.fromkeys(ImageName.parse(tag) for tag in pick("tag", flags.tags))),
            push=pick("push", flags.push),
            load=pick("load", flags.load),
            compression=pick("compression", flags.compression),
            insecure=tuple(pick("insecure-registry", flags.insecure)),
            pull_policy=pick("pull-policy", flags.pull_policy),
            previous=previous or "",
            cache=caches[0] if caches else (),
        ),
        remarks,
    )


def shape(flags: Flags, pick: Callable[[str, Any], Any], buildpack: Callable[[str], str]) -> Shape:
    """What is to be another way; `buildpack` completes the name of one. Raises UsageError."""
    app = _app_dir(flags.app_dir) if flags.app_dir else APP_DIR

    def directory(path: str | None) -> str:
        return os.path.normpath(os.path.join(flags.cwd, path)) if path else ""

    return Shape(
        platform=_platform(pick("platform", flags.platform) or ""),
        created=_created(pick("creation-time", flags.created) or ""),
        process=ProcessType.parse(flags.process) if flags.process else "",
        exec_env=_exec_env(pick("exec-env", flags.exec_env)),
        app_dir=app,
        uid=flags.uid,
        gid=flags.gid,
        volumes=tuple(parse_volume(text, flags.cwd, app) for text in pick("volume", flags.volumes)),
        before=tuple(buildpack(one) for text in flags.before for one in divided(text, flags.cwd)),
        after=tuple(buildpack(one) for text in flags.after for one in divided(text, flags.cwd)),
        without_system=flags.without_system,
        sbom_dir=directory(flags.sbom_dir),
        report_dir=directory(flags.report_dir),
    )


def divided(text: str, cwd: str) -> list[str]:
    """Buildpacks named in one text, separated by commas, but for a path that has one in its name."""
    if "," in text and os.path.exists(os.path.join(cwd, text)):
        return [text]
    return [one for one in text.split(",") if one]


def reference(text: str) -> str:
    """The name of an image in a registry, which may be fixed by a digest. Raises UsageError, slug `name`."""
    name, at, digest = text.partition("@")
    ImageName.parse(name)
    if at:
        Digest.parse(digest)
    return text


def _platform(text: str) -> str:
    if text and not _PLATFORM.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a platform",
            slug="image-platform",
            cause="it has to be os/architecture, and perhaps /variant",
            tries=("--platform linux/amd64",),
        )
    return text


def _exec_env(text: str) -> str:
    if not _EXEC_ENV.fullmatch(text):
        raise UsageError(
            f"{text!r} is not an execution environment",
            slug="exec-env",
            cause="it has to be letters, digits, `.` and `-`",
            tries=("--exec-env test",),
        )
    return text


def _created(text: str) -> str:
    if text and text != "now" and not (text.isascii() and text.isdigit() and len(text) < 12):
        raise UsageError(
            f"{text!r} is not a time",
            slug="creation-time",
            cause="it has to be `now` or a number of seconds since 1970",
            tries=("--creation-time now", "--creation-time $(git log -1 --format=%ct)"),
        )
    return text


def _app_dir(text: str) -> str:
    path = text.rstrip("/")
    taken = ("/cnb", "/layers", "/platform", "/proc", "/dev", "/sys", "/run", "/tmp")  # noqa: S108  inside, not here
    if (
        not path.startswith("/")
        or posixpath.normpath(path) != path
        or any(path == one or path.startswith(f"{one}/") for one in taken)
    ):
        raise UsageError(
            f"the application cannot be at {text!r}",
            slug="workspace",
            cause=f"it has to be an absolute path, and not below {', '.join(taken)}",
            tries=("--workspace /app",),
        )
    return path


def _caches(texts: tuple[str, ...], cwd: str) -> tuple[list[tuple[CacheKind, str]], list[str]]:
    """The places that --cache names, in our form (type=dir,path=DIR) or pack's (type=build;format=bind;source=DIR)."""
    found: list[tuple[CacheKind, str]] = []
    remarks: list[str] = []
    for text in texts:
        values = _pairs(text)
        kind, form = values.get("type", "build"), values.get("format", "")
        if kind == "launch":
            remarks.append("--cache type=launch has no effect: an image's layers are reused without one")
            continue
        form = {"dir": "bind", "image": "image", "volume": "volume"}.get(kind, form or "volume")
        place = {
            "bind": values.get("path") or values.get("source"),
            "image": values.get("name"),
            "volume": values.get("name"),
        }.get(form)
        if kind not in {"build", "dir", "image", "volume"} or not place:
            raise _no_cache(text)
        match form:
            case "image":
                found.append(("image", reference(place)))
            case "volume" if _VOLUME_NAME.fullmatch(place):
                found.append(("volume", place))
            case "bind":
                found.append(("dir", os.path.normpath(os.path.join(cwd, place))))
            case _:
                raise _no_cache(text)
    return found, remarks


def _pairs(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in text.split(";" if ";" in text else ","):
        name, equals, value = part.partition("=")
        if (
            not equals
            or name in values
            or any(c < " " for c in value)
            or name not in {"type", "format", "name", "source", "path"}
        ):
            raise _no_cache(text)
        values[name] = value
    return values


def _no_cache(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a place for a cache",
        slug="cache",
        cause="it is type=dir,path=DIR or type=image,name=NAME; pack's type=build;format=bind;source=DIR is read too",
        tries=("--cache type=dir,path=.cache", "--cache type=image,name=registry.example.com/shop:cache"),
    )
