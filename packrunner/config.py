"""Settings and where they come from: flag, then environment, project.toml, config.toml, default.

Every setting is a row of SETTINGS; its environment variable is its name in capitals after PACKRUNNER_. What is not a
row is an error that names the nearest row.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packrunner import paths
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Origin = Literal["flag", "env-file", "environment", "project.toml", "config", "default"]
Kind = Literal["text", "list", "switch", "count"]

PREFIX = "PACKRUNNER_"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: what values it takes, and whether flags and config.toml may give it."""

    name: str
    doc: str
    kind: Kind = "text"
    default: Any = None
    choices: tuple[str, ...] = ()
    flag: str = ""
    in_config: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper().replace("-", "_")


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A setting's value and where it came from."""

    value: Any
    origin: Origin


SETTINGS: dict[str, Setting] = {
    s.name: s
    for s in (
        Setting(name="path", flag="--path", default=".", doc="directory of the application"),
        Setting(name="builder", flag="--builder", default="debian:13", in_config=True, doc="what builds are made with"),
        Setting(name="buildpack", flag="--buildpack", kind="list", doc="buildpacks to use, in this order"),
        Setting(name="extension", flag="--extension", kind="list", doc="image extensions to use, in this order"),
        Setting(name="env-file", flag="--env-file", kind="list", doc="files of build variables"),
        Setting(name="output", flag="--output", kind="list", doc="further places to write the image to"),
        Setting(name="run-image", flag="--run-image", doc="image below the application's layers"),
        Setting(name="tag", flag="--tag", kind="list", doc="further names for the image"),
        Setting(name="push", flag="--push", kind="switch", doc="also send the image to its registry"),
        Setting(name="load", flag="--load", kind="switch", doc="also give the image to the Docker engine"),
        Setting(
            name="compression",
            flag="--compression",
            default="gzip",
            choices=("gzip", "zstd"),
            in_config=True,
            doc="how layers that are pushed are compressed",
        ),
        Setting(
            name="pull-policy",
            flag="--pull-policy",
            default="if-not-present",
            choices=("always", "if-not-present", "never"),
            in_config=True,
            doc="when images are looked up in registries",
        ),
        Setting(
            name="insecure-registry",
            flag="--insecure-registry",
            kind="list",
            doc="registries that are spoken to without TLS",
        ),
        Setting(name="previous-image", flag="--previous-image", doc="image whose layers and metadata are reused"),
        Setting(name="cache-image", flag="--cache-image", doc="image in a registry that keeps cached layers"),
        Setting(name="platform", flag="--platform", doc="platform that the image has to be for"),
        Setting(name="exec-env", flag="--exec-env", default="production", doc="what the image is for"),
        Setting(name="creation-time", flag="--creation-time", doc="when the image says it was made"),
        Setting(name="volume", flag="--volume", kind="list", doc="directories and files that buildpacks see"),
        Setting(name="clear-cache", flag="--clear-cache", kind="switch", doc="forget this application's cache first"),
        Setting(name="rebuild", flag="--rebuild", kind="switch", doc="run the buildpacks though nothing changed"),
        Setting(
            name="network",
            flag="--network",
            default="host",
            choices=("host", "none"),
            in_config=True,
            doc="network of buildpacks and of `run`",
        ),
        Setting(
            name="ca-cert",
            flag="--ca-cert",
            kind="list",
            in_config=True,
            doc="certificate authorities to believe, here and in builds: `host` or files",
        ),
        Setting(name="offline", flag="--offline", kind="switch", in_config=True, doc="use no network at all"),
        Setting(
            name="progress",
            flag="--progress",
            default="auto",
            choices=("auto", "tty", "plain", "json"),
            in_config=True,
            doc="how progress is shown",
        ),
        Setting(
            name="color",
            flag="--color",
            default="auto",
            choices=("auto", "always", "never"),
            in_config=True,
            doc="when colours are used",
        ),
        Setting(name="quiet", flag="-q", kind="count", default=0, doc="say less: 1 warnings and errors, 2 errors only"),
        Setting(name="verbose", flag="-v", kind="count", default=0, doc="say more: 1 reasons, 2 commands"),
        Setting(name="animation", kind="switch", default=True, in_config=True, doc="redraw the running step"),
        Setting(
            name="registry-mirrors", in_config=True, doc="registries to read from first: `docker.io=mirror.example`"
        ),
        Setting(name="debian-mirror", in_config=True, doc="where Debian packages come from, as in sources.list"),
        Setting(
            name="engine",
            flag="--engine",
            default="sandbox",
            choices=("sandbox", "docker"),
            in_config=True,
            doc="where buildpacks run",
        ),
        Setting(name="docker-host", flag="--docker-host", in_config=True, doc="Docker engine, as in DOCKER_HOST"),
    )
}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """config.toml: values by setting; `path` is where it was looked for."""

    path: str = ""
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)


def load(path: str | None = None) -> Config:
    """Read config.toml; without the file nothing is set. Raises UsageError (config, config-key, config-value)."""
    path = path or paths.config_file()
    try:
        with open(path, "rb") as file:
            text = file.read().removeprefix(b"\xef\xbb\xbf").decode()  # the mark of editors of Windows
    except (FileNotFoundError, NotADirectoryError):
        return Config(path=path)
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise UsageError(f"{paths.readable(path)} cannot be read: {reason}", slug="config") from e
    return Config(path=path, values=parse(text, where=paths.readable(path)))


def parse(text: str, *, where: str) -> dict[str, Any]:
    """The settings in the text of a config.toml; `where` names it in errors."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise UsageError(f"{where} is not TOML: {e}", slug="config", at=where) from e
    allowed = [s.name for s in SETTINGS.values() if s.in_config]
    values = {}
    for key, value in table.items():
        at = f"{where}:{_line(text, key)}"
        if key not in allowed:
            raise UsageError(
                f"{where} has a key that packrunner does not know: {key}",
                slug="config-key",
                at=f"{at}   {key}",
                tries=_suggest(key, allowed, "write {}"),
                more="packrunner help configuration",
            )
        values[key] = _check_type(SETTINGS[key], value, at)
    return values


def _check_type(setting: Setting, value: Any, at: str) -> Any:
    right = isinstance(value, {"switch": bool, "list": list}.get(setting.kind, str))
    if not right or (setting.choices and value not in setting.choices):
        raise _wrong(setting, value, f"the key {setting.name}", at, f"write {setting.name} = ")
    if setting.kind == "list" and not all(isinstance(one, str) for one in value):
        raise _wrong(setting, value, f"the key {setting.name}", at, "")
    return tuple(value) if setting.kind == "list" else value


def _line(text: str, key: str) -> int:
    # tomllib tells no positions; top-level keys stand alone at the start of a line, tables in brackets.
    start = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}\b")
    return next((number for number, line in enumerate(text.splitlines(), 1) if start.match(line)), 1)


def _suggest(word: str, known: Iterable[str], form: str) -> tuple[str, ...]:
    from difflib import get_close_matches

    return tuple(form.format(match) for match in get_close_matches(word, list(known), n=1))


def _wrong(setting: Setting, value: Any, what: str, at: str, write: str) -> UsageError:
    allowed = setting.choices or (("true", "false") if setting.kind == "switch" else ())
    plain = {"count": "a number", "list": "a list of texts"}.get(setting.kind, "a text")
    rule = f"one of {', '.join(allowed)}" if allowed else plain
    near = _suggest(str(value), allowed, write + "{}")
    return UsageError(f"{what} has to be {rule}, not {value!r}", slug="config-value", at=at or None, tries=near)


def from_environment(setting: Setting, environ: Mapping[str, str]) -> Any:
    """A setting's value from its environment variable; None when unset. Raises UsageError (config-value)."""
    raw = environ.get(setting.variable)
    if not raw:
        return None
    wrong = _wrong(setting, raw, f"the variable {setting.variable}", "", f"{setting.variable}=")
    match setting.kind:
        case "switch":
            if raw.lower() not in _YES | _NO:
                raise wrong
            return raw.lower() in _YES
        case "count":
            if not (raw.isascii() and raw.isdigit() and len(raw) < 3):
                raise wrong
            return int(raw)
        case "list":
            return tuple(part.strip() for part in raw.split(",") if part.strip())
        case "text":
            if setting.choices and raw not in setting.choices:
                raise wrong
            return raw


def resolve(
    name: str, *, flag: Any = None, environ: Mapping[str, str], project: Any = None, config: Config | None = None
) -> Value:
    """One setting by precedence. A flag that was not given is None, False, 0 or empty."""
    setting = SETTINGS[name]
    if flag:
        if setting.choices and flag not in setting.choices:
            raise _wrong(setting, flag, setting.flag, "", f"{setting.flag} ")
        return Value(value=flag, origin="flag")
    given = from_environment(setting, environ)
    if given is not None:
        return Value(value=given, origin="environment")
    if project:
        return Value(value=project, origin="project.toml")
    if config is not None and name in config.values:
        return Value(value=config.values[name], origin="config")
    empty: dict[Kind, Any] = {"list": (), "switch": False}
    return Value(value=empty.get(setting.kind) if setting.default is None else setting.default, origin="default")


def setting(name: str, environ: Mapping[str, str] = os.environ) -> Any:
    """The value of a setting that no flag or project gives, such as `debian-mirror`."""
    return resolve(name, environ=environ, config=load()).value


def misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables that look like ours and are not, each with the name that was probably meant."""
    known = [s.variable for s in SETTINGS.values()] + [PREFIX + "HOME"]
    ours = [name for name in sorted(environ) if name.startswith(PREFIX) and name not in known]
    tails = {name[len(PREFIX) :]: name for name in known}
    found = [(name, _suggest(name[len(PREFIX) :], tails, "{}")) for name in ours]
    return [(name, tails[near[0]]) for name, near in found if near]
