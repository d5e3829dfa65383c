"""The body of `packrunner build`: the request, its reporter and log, the result line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner import config, events, paths
from packrunner.cli import logs
from packrunner.console import log, units
from packrunner.console.redact import Redactor, is_secret
from packrunner.console.reporters import Tee, choose
from packrunner.console.terminal import Terminal
from packrunner.errors import DetectErroredError, DetectNoneError, PackrunnerError, UsageError
from packrunner.lifecycle import bindings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packrunner.cli.services import BuildOutcome, Known
    from packrunner.cli.session import Session
    from packrunner.cli.telling import Telling
    from packrunner.console.reporters import Progress, Renderer
    from packrunner.events import Reporter
    from packrunner.formats.project import Project
    from packrunner.lifecycle.given import Flags
    from packrunner.lifecycle.request import BuildRequest


def read_env_file(path: str) -> str:
    """The text of an --env-file. Raises UsageError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as e:
        raise UsageError(f"{paths.readable(path)} cannot be read: {e.strerror}", slug="env-file") from e


def start(flags: Flags, session: Session) -> int:
    """Resolve the request from the flags and all other sources, and perform it."""
    return perform(resolve(flags, session), session)


def resolve(flags: Flags, session: Session) -> BuildRequest:
    """The request from the flags, the environment, project.toml and config.toml. Raises UsageError."""
    from packrunner.lifecycle import request

    settings = config.load()
    path = config.resolve("path", flag=flags.path, environ=session.environ).value
    source = os.path.normpath(os.path.join(flags.cwd, path))
    _check_source(source)
    # What was asked of stderr holds for the errors of project.toml too.
    session.color = config.resolve("color", flag=flags.color, environ=session.environ, config=settings).value
    return request.merge(flags, session.environ, _project(source, flags), settings)


def _project(source: str, flags: Flags) -> Project | None:
    named = None if flags.project is None else os.path.join(flags.cwd, flags.project)
    if named is None and not os.path.lexists(os.path.join(source, "project.toml")):
        return None
    from packrunner.catalog import project

    return project.load(source, named)


def _check_source(path: str) -> None:
    if os.path.isdir(path):
        return
    shown = paths.readable(path)
    if os.path.exists(path):
        raise UsageError(f"{shown} is not a directory", slug="no-such-path", tries=("--path DIR, the application's",))
    raise UsageError(f"{shown} does not exist", slug="no-such-path", tries=("--path DIR, the application's",))


def reporter(request: BuildRequest, session: Session, *, progress: Progress, hidden: Iterable[str] = ()) -> Renderer:
    """The reporter that the request asks for; from here on its secrets, and what is `hidden`, are in no text."""
    import sys

    session.color, session.verbose = request.color, request.verbose
    session.redact = redactor(request, session.environ, hidden)
    return choose(
        progress,
        sys.stderr,
        Terminal.of(sys.stderr, session.environ, request.color),
        quiet=request.quiet,
        verbose=request.verbose,
        animation=request.animation,
        redact=session.redact,
    )


def redactor(request: BuildRequest, environ: Mapping[str, str], hidden: Iterable[str]) -> Redactor:
    """What hides the secrets of the environment and of the request, and what is `hidden`."""
    secret = [value for name, value in request.env if is_secret(name)]
    return Redactor.of(environ).knowing([*secret, *hidden])


def tell(request: BuildRequest, shown: Reporter) -> None:
    """Say what there is to say about the settings themselves."""
    if request.verbose:
        logs.show_debugging()
        for name, origin in sorted(request.origins.items()):
            shown.emit(events.Noted(text=f"{name} comes from {origin}"))
    for text, hint in request.warnings:
        shown.emit(events.Warned(text=text, hint=hint))


def perform(request: BuildRequest, session: Session) -> int:
    """Build, then write the result line."""
    session.result(build(request, session, session.known).line)
    return 0


def build(request: BuildRequest, session: Session, known: Known | None = None) -> BuildOutcome:
    """Build; every event also goes to the build's log."""
    held = bindings.hold(request.bindings, request.secrets, session.environ)
    shown = reporter(request, session, progress=request.progress, hidden=held.texts())
    written = log.LogReporter(os.path.join(paths.state_dir(), "logs"), request.name, redact=session.redact)
    session.reporter = Tee((shown, written))
    tell(request, session.reporter)
    telling = _telling(request, session)
    try:
        return session.services.build(request, session.reporter, known, held, telling)
    except PackrunnerError as e:
        if isinstance(e, DetectNoneError | DetectErroredError):
            from packrunner.cli import detecting

            e.more = e.more or detecting.command(request)
        elif e.foreign and e.more is None and written.path:
            e.more = f"all of it ({units.number(written.foreign, 'line')}): {paths.readable(written.path)}"
        if telling:
            telling.failed(e, session.reporter)
        raise


def _telling(request: BuildRequest, session: Session) -> Telling | None:
    """What will tell of the build in files. Most builds write none."""
    if not request.shape.report_dir:
        return None
    from packrunner.cli.telling import Telling

    return Telling(request, session.redact)
