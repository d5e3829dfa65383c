"""What a phase was told, resolved: flag beats variable beats default (EXC-04)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.cli.phases import flags
from packrunner.errors import ArgumentsError, ExperimentalError
from packrunner.formats.api import platform_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.cli.phases.flags import Phase
    from packrunner.engines.base import User
    from packrunner.lifecycle.phases.analyzing import Targets
    from packrunner.lifecycle.phases.setting import Setting

LEVELS = {"debug": (0, 1), "info": (0, 0), "warn": (1, 0), "error": (2, 0)}
"""How quiet and how verbose a log level is."""


class Inputs:
    """The resolved values of one call, by the names of flags."""

    def __init__(self, phase: Phase, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """Read everything; the platform's level comes first (EXC-03). Raises PlatformApiError, ArgumentsError."""
        self.phase = phase
        self.environ = environ
        self.platform_api = environ.get("CNB_PLATFORM_API", "")
        self.features = platform_features(self.platform_api)
        self._known = flags.of(phase, self.platform_api)
        parsed = flags.read(phase, self.platform_api, arguments)
        self._given = parsed.values
        self.words = parsed.words

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated; its variable has them separated by commas."""
        flag = next(f for f in flags.FLAGS if f.name == name)
        if name in self._given:
            return self._given[name]
        found = self.environ.get(flag.variable, "") if flag.variable and name in self._known else ""
        return tuple(found.split(",")) if found else ()

    def text(self, name: str) -> str:
        """The value of a flag; an empty variable counts as none."""
        flag = next(f for f in flags.FLAGS if f.name == name)
        if name in self._given:
            return self._given[name][-1]
        found = self.environ.get(flag.variable, "") if flag.variable else ""
        if found:
            return found
        # Only the layers directory itself may stand in a default.
        return flag.default.replace("<layers>", self.text("layers")) if "<" in flag.default else flag.default

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return flags.is_true(self.text(name))

    def path(self, name: str) -> str:
        """A path, absolute; "" for none."""
        found = self.text(name)
        return os.path.abspath(found) if found else ""

    def identity(self) -> tuple[int, int]:
        """The build's user. Raises ArgumentsError where root does not say who that is (DET-01)."""
        numbers = [self.text(name) for name in ("uid", "gid")]
        if (os.geteuid() != 0 or self.phase == "rebase") and not all(numbers):
            return (os.geteuid(), os.getegid())
        if not all(n.isascii() and n.isdigit() for n in numbers):
            raise ArgumentsError(
                "the build's user is not known",
                slug="phase-user",
                cause="root does not run buildpacks, and a builder says in its variables who does",
                tries=("CNB_USER_ID and CNB_GROUP_ID, or -uid and -gid",),
            )
        return (int(numbers[0]), int(numbers[1]))

    def log_level(self) -> tuple[int, int]:
        """How quiet and how verbose to be. Raises ArgumentsError."""
        level = self.text("log-level").lower()
        if level not in LEVELS:
            raise ArgumentsError(f"{level!r} is no log level", slug="phase-flag", tries=tuple(LEVELS))
        return LEVELS[level]

    def experimental(self, what: str) -> str:
        """Allow an experimental feature: a warning to show, or "". Raises ExperimentalError (EXC-05)."""
        mode = self.environ.get("CNB_EXPERIMENTAL_MODE", "") or "error"
        if mode in {"silent", "quiet"}:
            return ""
        if mode == "warn":
            return f"{what} is an experimental feature of the Platform API"
        raise ExperimentalError(
            f"{what} is an experimental feature of the Platform API",
            slug="experimental",
            cause=f"CNB_EXPERIMENTAL_MODE is {mode}" if mode != "error" else "experiments are off",
            tries=("CNB_EXPERIMENTAL_MODE=warn, or silent",),
        )


def setting(inputs: Inputs) -> Setting:
    """What all phases are told."""
    from packrunner.lifecycle.phases.setting import Files, Setting
    from packrunner.workspace import Places

    exec_env = inputs.environ.get("CNB_EXEC_ENV") or "production"
    if "/" in exec_env:
        raise ArgumentsError(f"{exec_env!r} cannot be an execution environment: it has a `/`", slug="exec-env")
    paths = ("analyzed", "group", "plan", "system", "run", "stack", "report")
    return Setting(
        files=Files(
            order=_order(inputs),
            project_metadata=inputs.path("project-metadata"),
            **{name: inputs.path(name) for name in paths},
        ),
        platform_api=inputs.platform_api,
        places=Places(
            app=inputs.path("app"),
            layers=inputs.path("layers"),
            platform=inputs.path("platform"),
            buildpacks=inputs.path("buildpacks"),
            extensions=inputs.path("extensions"),
        ),
        generated=inputs.path("generated"),
        extended=inputs.path("extended"),
        build_config=inputs.path("build-config"),
        user=_user(inputs),
        exec_env=exec_env,
        image_env=dict(inputs.environ),
        cache_dir=inputs.path("cache-dir"),
        cache_image=inputs.text("cache-image"),
        skip_layers=inputs.switch("skip-layers") or inputs.switch("skip-restore"),
    )


def targets(inputs: Inputs) -> Targets:
    """The image and its other names. Raises ArgumentsError unless there is exactly one image, or for rebase some."""
    from packrunner.images.reference import Reference
    from packrunner.lifecycle.phases.analyzing import Targets

    if len(inputs.words) != 1 and not (inputs.phase == "rebase" and inputs.words):
        raise ArgumentsError(
            f"{inputs.phase} takes one image, and {len(inputs.words)} were given",
            slug="phase-flag",
            tries=(f"packrunner lifecycle {inputs.phase} [flags] IMAGE",),
        )
    found = Targets(
        names=tuple(dict.fromkeys((*inputs.words, *inputs.many("tag")))),
        previous=inputs.text("previous-image"),
        run_image=inputs.text("image") or inputs.text("run-image"),
    )
    for name in filter(None, (*found.names, found.previous, found.run_image)):
        Reference.parse(name)
    return found


def _order(inputs: Inputs) -> str:
    """The order file: one in the layers directory comes before the builder's (IMG-06)."""
    path = inputs.path("order")
    default = os.path.join(inputs.path("layers"), "order.toml")
    return "/cnb/order.toml" if path == default and not os.path.exists(path) else path


def _user(inputs: Inputs) -> User:
    """The build's user, with the home that it has here (DET-05)."""
    import pwd

    from packrunner.engines.base import User

    uid, gid = inputs.identity()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid=uid, gid=gid, home=inputs.environ.get("HOME") or "/", name="")
    return User(uid=uid, gid=gid, home=entry.pw_dir, name=entry.pw_name)
