"""Tiltfiles, run by a Starlark interpreter with stand-ins for what Tilt provides: as strict about arguments as Tilt is.

A stand-in records what it was told. Live update steps have to be in the order that Tilt wants, and used.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import starlark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

Command = str | list[str]
Step = dict[str, Any]

_ORDER = ("initial_sync", "fall_back_on", "sync", "run", "restart_container")
_PRELUDE = """
os = struct(
    name = "posix",
    getcwd = os_getcwd,
    path = struct(abspath = os_path_abspath, exists = os_path_exists, join = os_path_join),
)
shlex = struct(quote = shlex_quote)
config = struct(define_string = config_define_string, parse = config_parse)
"""


class Tilt:
    """What a Tiltfile in `directory` told Tilt. `local` runs commands for it, `settings` is what follows `--`."""

    def __init__(
        self,
        directory: Path,
        *,
        local: Callable[[Sequence[str]], str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.execute = local or self._execute
        self.settings = dict(settings or {})
        self.defined: set[str] = set()
        self.unused: list[Step] = []
        self.images: list[dict[str, Any]] = []
        self.watched: list[str] = []
        self.commands: list[list[str]] = []
        self.files: list[str] = []
        self.resources: list[dict[str, Any]] = []

    def run(self, text: str) -> None:
        """Run a Tiltfile. Raises StarlarkError, or ValueError, for what Tilt would refuse."""
        self._evaluate("Tiltfile", text, self.directory)
        if self.unused:
            raise ValueError(f"live_update steps that were created but not used: {self.unused}")

    def path(self, name: str) -> str:
        """Where a path of the Tiltfile is."""
        return os.path.normpath(self.directory / _text(name))

    def _evaluate(self, name: str, text: str, directory: Path) -> starlark.Module:
        module = starlark.Module()
        builtins = _Builtins(self)
        for word in dir(builtins):
            if not word.startswith("_"):
                module.add_callable(word, getattr(builtins, word))
        dialect = starlark.Dialect.extended()
        dialect.enable_types = starlark.DialectTypes.DISABLE
        known = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
        starlark.eval(module, starlark.parse("prelude", _PRELUDE, dialect), known)
        loader = starlark.FileLoader(lambda path: self._load(directory / path))
        starlark.eval(module, starlark.parse(name, text, dialect), known, loader)
        return module

    def _load(self, file: Path) -> starlark.FrozenModule:
        return self._evaluate(str(file), file.read_text(), file.parent).freeze()

    def _execute(self, words: Sequence[str]) -> str:
        return subprocess.run(words, cwd=self.directory, check=True, capture_output=True, text=True).stdout


class _Builtins:
    """Named as in Tiltfiles; those of modules with the module's name in front."""

    def __init__(self, tilt: Tilt) -> None:
        self._tilt = tilt

    def custom_build(
        self,
        ref: str,
        command: Command,
        deps: str | list[str],
        tag: str = "",
        disable_push: bool = False,
        skips_local_docker: bool = False,
        live_update: Sequence[Step] = (),
        match_in_env_vars: bool = False,
        ignore: str | list[str] = "",
        entrypoint: Command = "",
        container_args: Sequence[str] = (),
        command_bat_val: Command = "",
        outputs_image_ref_to: str = "",
        command_bat: Command = "",
        image_deps: Sequence[str] = (),
        env: dict[str, str] | None = None,
        dir: str = "",  # noqa: A002 - Tilt's name
    ) -> None:
        if tag and outputs_image_ref_to:
            raise ValueError("Cannot specify both tag= and outputs_image_ref_to=")
        self._tilt.images.append(
            {
                "ref": _text(ref),
                "command": command if isinstance(command, str) else _texts(command),
                "deps": [self._tilt.path(one) for one in _texts(deps)],
                "ignore": _texts(ignore),
                "live_update": self._steps(live_update),
                "disable_push": _flag(disable_push),
                "skips_local_docker": _flag(skips_local_docker),
                "tag": _text(tag),
                "env": {_text(name): _text(value) for name, value in (env or {}).items()},
            }
        )

    def docker_build(
        self,
        ref: str,
        context: str,
        *,
        dockerfile: str = "Dockerfile",
        live_update: Sequence[Step] = (),
        ignore: str | list[str] = "",
        only: str | list[str] = "",
        build_args: dict[str, str] | None = None,
    ) -> None:
        self._tilt.images.append(
            {
                "ref": _text(ref),
                "context": self._tilt.path(context),
                "dockerfile": self._tilt.path(dockerfile),
                "live_update": self._steps(live_update),
            }
        )

    def _steps(self, steps: Sequence[Step]) -> list[Step]:
        kinds = [_ORDER.index(step["step"]) for step in steps]
        if kinds != sorted(kinds):
            raise ValueError(f"live_update steps are out of order: {[step['step'] for step in steps]}")
        if steps and not {"sync", "run"} & {step["step"] for step in steps}:
            raise ValueError("live_update needs at least one sync or run")
        for step in steps:
            self._tilt.unused.remove(step)
        return list(steps)

    def _step(self, kind: str, **values: Any) -> Step:
        step = {"step": kind, **values}
        self._tilt.unused.append(step)
        return step

    def initial_sync(self) -> Step:
        return self._step("initial_sync")

    def fall_back_on(self, paths: str | list[str]) -> Step:
        return self._step("fall_back_on", paths=[self._tilt.path(one) for one in _texts(paths)])

    def sync(self, local_path: str, remote_path: str) -> Step:
        if not _text(remote_path).startswith("/"):
            raise ValueError(f"sync: {remote_path} is not an absolute path")
        return self._step("sync", local=self._tilt.path(local_path), remote=remote_path)

    def run(self, cmd: Command, trigger: str | list[str] = "", echo_off: bool = False) -> Step:
        return self._step("run", cmd=cmd if isinstance(cmd, str) else _texts(cmd), trigger=_texts(trigger))

    def restart_container(self) -> Step:
        return self._step("restart_container")

    def local(
        self,
        command: Command,
        quiet: bool = False,
        command_bat: Command = "",
        echo_off: bool = False,
        env: dict[str, str] | None = None,
        dir: str = "",  # noqa: A002 - Tilt's name
        stdin: str = "",
    ) -> dict[str, str]:
        words = ["sh", "-c", command] if isinstance(command, str) else _texts(command)
        self._tilt.commands.append(words)
        return {"blob": self._tilt.execute(words)}

    def decode_json(self, json: str | dict[str, str]) -> Any:
        return _decoded(json if isinstance(json, str) else json["blob"])

    def watch_file(self, file_path: str) -> None:
        self._tilt.watched.append(self._tilt.path(file_path))

    def k8s_yaml(self, yaml: str | list[str]) -> None:
        self._named_files(_texts(yaml))

    def docker_compose(self, configPaths: str | list[str]) -> None:  # noqa: N803 - Tilt's name
        self._named_files(_texts(configPaths))

    def _named_files(self, names: list[str]) -> None:
        for path in map(self._tilt.path, names):
            if not os.path.isfile(path):
                raise ValueError(f"there is no {path}")
            self._tilt.files.append(path)

    def k8s_resource(self, workload: str, port_forwards: int | str = "", labels: Sequence[str] = ()) -> None:
        self._tilt.resources.append({"name": _text(workload), "port_forwards": port_forwards})

    def dc_resource(self, name: str, labels: Sequence[str] = ()) -> None:
        self._tilt.resources.append({"name": _text(name)})

    def config_define_string(self, name: str, args: bool = False, usage: str = "") -> None:
        self._tilt.defined.add(_text(name))

    def config_parse(self) -> dict[str, str]:
        if unknown := set(self._tilt.settings) - self._tilt.defined:
            raise ValueError(f"unknown settings: {unknown}")
        return self._tilt.settings

    def os_getcwd(self) -> str:
        return str(self._tilt.directory)

    def os_path_abspath(self, path: str) -> str:
        return self._tilt.path(path)

    def os_path_exists(self, path: str) -> bool:
        return os.path.exists(self._tilt.path(path))

    def os_path_join(self, path: str, *paths: str) -> str:
        return os.path.join(_text(path), *map(_text, paths))

    def shlex_quote(self, s: str) -> str:
        return shlex.quote(_text(s))


def _decoded(text: str) -> Any:
    return json.loads(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _texts(value: Any) -> list[str]:
    return [_text(one) for one in ([value] if isinstance(value, str) else value) if one != ""]


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no bool")
    return value
