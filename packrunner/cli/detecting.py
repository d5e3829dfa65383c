"""The body of `packrunner detect`: ask, then show the answer; and the command that asks about a failed build."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli import building
from packrunner.console.redact import is_secret
from packrunner.errors import UsageError
from packrunner.lifecycle import bindings

if TYPE_CHECKING:
    from packrunner.cli.session import Session
    from packrunner.lifecycle.given import Flags
    from packrunner.lifecycle.request import BuildRequest


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What of the answer is wanted, and an order of one's own."""

    explain: bool = False
    json: bool = False
    order: str | None = None
    directories: tuple[str, ...] = ()


def perform(flags: Flags, wish: Wish, session: Session) -> int:
    """Answer on stdout; the exit code is detection's own."""
    _check(flags, wish)
    request = building.resolve(flags, session)
    order = None if wish.order is None else os.path.join(flags.cwd, wish.order)
    directories = tuple(os.path.join(flags.cwd, path) for path in wish.directories)
    held = bindings.hold(request.bindings, request.secrets, session.environ)
    progress = "json" if wish.json else request.progress
    reporter = building.reporter(request, session, progress=progress, hidden=held.texts())
    session.reporter = reporter
    building.tell(request, reporter)
    answer = session.services.detect(request, reporter, held, order=order, directories=directories)
    from packrunner.cli import detection

    error = answer.error
    if wish.json:
        session.document("detect/1", detection.document(request, answer, session.redact))
    elif wish.explain:
        session.result("\n".join(detection.tree(request, answer, session.out, session.redact)))
    elif error is None:
        session.result("\n".join(detection.summary(answer, session.out, session.redact)))
    else:
        error.more = error.more or command(request, wish)
        raise error
    return 0 if error is None else error.exit_code


def _check(flags: Flags, wish: Wish) -> None:
    if wish.order is not None and flags.buildpacks:
        raise UsageError(
            "--order and --buildpack both say which buildpacks are tried",
            slug="usage",
            tries=("put them into the order: [[order.group]] with their ids",),
        )
    if wish.directories and wish.order is None:
        raise UsageError(
            "--buildpacks says where the buildpacks of an order are, and there is no order",
            slug="usage",
            tries=("--order FILE", "--buildpack DIR, for one buildpack"),
        )


def command(request: BuildRequest, wish: Wish | None = None) -> str:
    """The command that explains what detection found for this request: it can be pasted where packrunner was called.

    A value that is secret stands in nobody's message: `-e NAME` takes it from the environment.
    """
    return shlex.join(["packrunner", "detect", "--explain", *_options(request, wish or Wish())])


def _options(request: BuildRequest, wish: Wish) -> list[str]:
    """The flags that were typed, in a form that means the same here."""
    given: list[tuple[str, str, list[str]]] = [
        ("path", "-p", [_pasted(request.source)]),
        ("builder", "-B", [request.builder]),
        ("buildpack", "-b", [_directory(text) if text.startswith("/") else text for text in request.buildpacks]),
        ("extension", "--extension", [_directory(text) for text in request.extensions]),
        ("network", "--network", [request.network]),
        ("run-image", "--run-image", [request.run_image or ""]),
        ("exec-env", "--exec-env", [request.shape.exec_env]),
    ]
    options = [(flag, text) for name, flag, texts in given if request.origins.get(name) == "flag" for text in texts]
    options += [("--project", _pasted(request.project_file))] if request.origins.get("project") == "flag" else []
    options += [("--binding", f"{name}={_pasted(place)}") for name, place in request.bindings]
    options += [("--secret", f"{name}={_secret(place)}") for name, place in request.secrets]
    options += [("--env-file", _pasted(path)) for path in request.env_files]
    for name, value in request.env:
        if request.origins.get(f"env:{name}") == "flag":
            hidden = name in request.inherited or is_secret(name)
            options.append(("-e", name if hidden else f"{name}={value}"))
    options += [("--order", wish.order)] if wish.order is not None else []
    options += [("--buildpacks", directory) for directory in wish.directories]
    return [word for option in options for word in option]


def _secret(place: str) -> str:
    """Where a secret comes from: a variable, or a file whose name could be taken for one."""
    return place if place.startswith(bindings.FROM_ENVIRONMENT) else _directory(place)


def _pasted(path: str) -> str:
    """A path as short as it can be for a shell: a tilde would be quoted, and then mean nothing."""
    shown = paths.readable(path)
    return path if shown.startswith("~") else shown


def _directory(path: str) -> str:
    """A buildpack's directory, so that it is taken for one: a relative path starts with a dot."""
    shown = _pasted(path)
    return shown if shown.startswith((".", "/")) else f"./{shown}"
