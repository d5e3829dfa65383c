"""The flags of the lifecycle's phases: one table, read as Go's flag package reads it (EXC-04).

`-name value`, `-name=value`, `--name ...`; a switch takes its value only behind `=`; the first word that is no flag
ends them. Nothing here imports a command-line library: a phase may be started a dozen times in a pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import ArgumentsError
from packrunner.formats.api import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Phase = Literal["analyze", "detect", "generate", "restore", "extend", "build", "export", "rebase", "create"]
Kind = Literal["text", "switch", "number", "list"]

PHASES: tuple[Phase, ...] = (
    "analyze",
    "detect",
    "generate",
    "restore",
    "extend",
    "build",
    "export",
    "rebase",
    "create",
)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Flag(msgspec.Struct, frozen=True):
    """A flag: the variable that stands for it, its default (`<layers>` is that directory), where and since when."""

    name: str
    variable: str
    default: str
    about: str
    phases: frozenset[str]
    kind: Kind = "text"
    since: str = "0.7"


def _in(text: str) -> frozenset[str]:
    return frozenset(PHASES if text == "all" else text.split())


_IMAGES = _in("analyze restore export rebase create")
_RUN = _in("detect generate extend build create")

FLAGS: tuple[Flag, ...] = (
    Flag(
        "analyzed",
        "CNB_ANALYZED_PATH",
        "<layers>/analyzed.toml",
        "the file analyzed.toml",
        _in("all") - _in("create rebase"),
    ),
    Flag("app", "CNB_APP_DIR", "/workspace", "the application's directory", _RUN | _in("export")),
    Flag("build-config", "CNB_BUILD_CONFIG_DIR", "/cnb/build-config", "the operator's variables", _RUN),
    Flag("build-image", "CNB_BUILD_IMAGE", "", "the build image", _in("restore"), since="0.10"),
    Flag("buildpacks", "CNB_BUILDPACKS_DIR", "/cnb/buildpacks", "the buildpacks' directory", _RUN),
    Flag("cache-dir", "CNB_CACHE_DIR", "", "the cache, a directory", _in("restore export create")),
    Flag("cache-image", "CNB_CACHE_IMAGE", "", "the cache, an image", _in("analyze restore export create")),
    Flag("daemon", "CNB_USE_DAEMON", "", "images are in a Docker daemon", _IMAGES, "switch"),
    Flag(
        "extended", "CNB_EXTENDED_DIR", "<layers>/extended", "layers of extensions", _in("extend export"), since="0.12"
    ),
    Flag(
        "extensions",
        "CNB_EXTENSIONS_DIR",
        "/cnb/extensions",
        "the extensions' directory",
        _in("detect generate create"),
    ),
    Flag(
        "generated",
        "CNB_GENERATED_DIR",
        "<layers>/generated",
        "Dockerfiles of extensions",
        _in("detect generate restore extend"),
    ),
    Flag("force", "CNB_FORCE_REBASE", "", "rebase although it is unsafe", _in("rebase"), "switch", "0.12"),
    Flag("gid", "CNB_GROUP_ID", "", "group id of the build's user", _in("all"), "number"),
    Flag(
        "group",
        "CNB_GROUP_PATH",
        "<layers>/group.toml",
        "the file group.toml",
        _in("detect generate restore extend build export"),
    ),
    Flag("image", "", "", "the same as -run-image; deprecated", _in("rebase create")),
    Flag("insecure-registry", "CNB_INSECURE_REGISTRIES", "", "a registry without TLS", _IMAGES, "list", "0.13"),
    Flag(
        "kaniko-cache-ttl",
        "CNB_KANIKO_CACHE_TTL",
        "",
        "accepted; what extends an image is kept until prune",
        _in("extend"),
    ),
    Flag("kind", "CNB_EXTEND_KIND", "build", "the image to extend, build or run", _in("extend"), since="0.12"),
    Flag("launch-cache", "CNB_LAUNCH_CACHE_DIR", "", "layers of a daemon's images", _in("analyze export create")),
    Flag("launcher", "", "", "the launcher to put into the image", _in("export create")),
    Flag("launcher-sbom", "", "/cnb/lifecycle", "SBOMs of the lifecycle itself", _in("export create"), since="0.11"),
    Flag("layers", "CNB_LAYERS_DIR", "/layers", "the layers' directory", _in("all") - _in("rebase")),
    Flag("layout", "CNB_USE_LAYOUT", "", "images are in OCI layouts", _IMAGES, "switch", "0.12"),
    Flag("layout-dir", "CNB_LAYOUT_DIR", "", "the directory of OCI layouts", _IMAGES, since="0.12"),
    Flag("log-level", "CNB_LOG_LEVEL", "info", "debug, info, warn or error", _in("all")),
    Flag("no-color", "CNB_NO_COLOR", "", "no colours", _in("all"), "switch"),
    Flag("order", "CNB_ORDER_PATH", "<layers>/order.toml", "the file order.toml", _in("detect create")),
    Flag(
        "parallel",
        "CNB_PARALLEL_EXPORT",
        "",
        "accepted; image and cache share their work already",
        _in("export create"),
        "switch",
    ),
    Flag("plan", "CNB_PLAN_PATH", "<layers>/plan.toml", "the file plan.toml", _in("detect generate extend build")),
    Flag("platform", "CNB_PLATFORM_DIR", "/platform", "the platform's directory", _RUN),
    Flag(
        "previous-image",
        "CNB_PREVIOUS_IMAGE",
        "",
        "the image to reuse layers of, or to rebase",
        _in("analyze rebase create"),
    ),
    Flag("process-type", "CNB_PROCESS_TYPE", "", "the process that the image starts", _in("export create")),
    Flag(
        "project-metadata",
        "CNB_PROJECT_METADATA_PATH",
        "<layers>/project-metadata.toml",
        "the file project-metadata.toml",
        _in("export create"),
    ),
    Flag("report", "CNB_REPORT_PATH", "<layers>/report.toml", "the file report.toml", _in("export rebase create")),
    Flag(
        "run",
        "CNB_RUN_PATH",
        "/cnb/run.toml",
        "the file run.toml",
        _in("analyze detect generate restore export create"),
        since="0.12",
    ),
    Flag("run-image", "CNB_RUN_IMAGE", "", "the run image", _in("analyze rebase create")),
    Flag(
        "skip-layers", "CNB_SKIP_LAYERS", "", "nothing of the last image comes back", _in("analyze restore"), "switch"
    ),
    Flag("skip-restore", "CNB_SKIP_RESTORE", "", "nothing of the last image comes back", _in("create"), "switch"),
    Flag(
        "stack",
        "CNB_STACK_PATH",
        "/cnb/stack.toml",
        "the file stack.toml, below Platform API 0.12",
        _in("analyze export create"),
    ),
    Flag("system", "CNB_SYSTEM_PATH", "/cnb/system.toml", "the file system.toml", _in("detect create"), since="0.15"),
    Flag("tag", "", "", "another name for the image", _in("analyze create"), "list"),
    Flag("uid", "CNB_USER_ID", "", "user id of the build's user", _in("all"), "number"),
)


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed: values by flag, and the words after them."""

    values: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]


def of(phase: Phase, platform_api: str) -> dict[str, Flag]:
    """The flags of a phase at a level."""
    return {f.name: f for f in FLAGS if phase in f.phases and parse(f.since) <= parse(platform_api)}


def read(phase: Phase, platform_api: str, arguments: Sequence[str]) -> Parsed:
    """Read the arguments of a phase. Raises ArgumentsError (EXC-01)."""
    known = of(phase, platform_api)
    values: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        flag = known.get(name)
        if flag is None:
            raise _unknown(phase, name, platform_api)
        if not equals:
            if flag.kind == "switch":
                value = "true"
            elif rest:
                value = rest.pop(0)
            else:
                raise ArgumentsError(f"-{name} needs a value", slug="phase-flag")
        _check(flag, value)
        values.setdefault(name, []).append(value)
    return Parsed(values={name: tuple(given) for name, given in values.items()}, words=tuple(rest))


def is_true(text: str) -> bool:
    """Whether a switch is on; what is no boolean is off, as in variables."""
    return text in _TRUE


def _check(flag: Flag, value: str) -> None:
    if flag.kind == "switch" and value not in _TRUE | _FALSE:
        raise ArgumentsError(f"-{flag.name}={value} is neither true nor false", slug="phase-flag")
    if flag.kind == "number" and not (value.isascii() and value.isdigit() and len(value) < 11):
        raise ArgumentsError(f"-{flag.name} has to be a number, and is {value!r}", slug="phase-flag")


def _unknown(phase: Phase, name: str, platform_api: str) -> ArgumentsError:
    from difflib import get_close_matches

    later = next((f for f in FLAGS if f.name == name and phase in f.phases), None)
    near = get_close_matches(name, of(phase, platform_api), n=2)
    return ArgumentsError(
        f"{phase} has no flag -{name}",
        slug="phase-flag",
        cause=f"it came with Platform API {later.since}, and this is {platform_api}" if later else None,
        tries=tuple(f"-{match}" for match in near) if not later else (),
        more=f"packrunner lifecycle {phase} --help",
    )
