"""The body of `packrunner dev`: the request for a development image, and how its story is told."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from packrunner import paths
from packrunner.cli import building, keys
from packrunner.console import log
from packrunner.console.reporters import Tee
from packrunner.console.terminal import Terminal, Writer
from packrunner.errors import DetectErroredError, DetectNoneError, PackrunnerError
from packrunner.lifecycle import bindings
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner import events
    from packrunner.cli.services import Wish
    from packrunner.cli.session import Session
    from packrunner.console.reporters import Renderer
    from packrunner.events import Reporter
    from packrunner.lifecycle.given import Flags
    from packrunner.lifecycle.request import BuildRequest

ENVIRONMENT = "development"


def development_name(name: str) -> str:
    """What the image for development is called: `shop:dev` of `shop`, `shop:1.0-dev` of `shop:1.0`."""
    path, _, tag = ImageName.parse(name).tagged.rpartition(":")
    return ImageName.parse(f"{path}:dev" if tag == "latest" else f"{path}:{tag}-dev")


def start(flags: Flags, session: Session, wish: Wish) -> int:
    """Resolve the request and serve the application until it is told to stop."""
    asked = building.resolve(replace(flags, exec_env=ENVIRONMENT), session)
    request = replace(asked, name=development_name(asked.name))
    wish = replace(wish, name=asked.name, keys=keys.pressed if keys.available() else None)
    held = bindings.hold(request.bindings, request.secrets, session.environ)
    first = building.reporter(request, session, progress=request.progress, hidden=held.texts())
    building.tell(request, first)
    shown = _Shown(request, session, first)
    session.reporter = shown.renderer
    try:
        session.services.develop(request, wish, shown, held)
    except (DetectNoneError, DetectErroredError) as error:
        from packrunner.cli import detecting

        error.more = error.more or detecting.command(request)
        raise
    except PackrunnerError as error:
        shown.explained(error)
        raise
    return 0


class _Shown:
    """See `services.Shown`: a build as always, then the transcript; for programs the same events all along."""

    def __init__(self, request: BuildRequest, session: Session, first: Renderer) -> None:
        self._request = request
        self._session = session
        self._log: log.LogReporter | None = self._new_log()
        self.renderer: Renderer = Tee((first, self._log))
        self.first: Reporter = _Silent(self.renderer)

    @property
    def reporter(self) -> Reporter:
        """For everything else, once it has begun."""
        return self.renderer

    def begin(self) -> None:
        """The first build is done."""
        if self._request.progress == "json":
            return
        from packrunner.console.transcript import Transcript

        self.renderer.close()
        self._log = None
        self.renderer = Transcript(
            Writer(sys.stderr),
            Terminal.of(sys.stderr, self._session.environ, self._request.color),
            quiet=self._request.quiet,
            redact=self._session.redact,
        )
        self._session.reporter = self.renderer

    def problem(self, error: PackrunnerError) -> None:
        """Show an error that does not end it."""
        self.renderer.problem(error)

    @contextmanager
    def logged(self, reporter: Reporter) -> Iterator[Reporter]:
        """The reporter, and a log of its own, for one more build."""
        self._log = written = self._new_log()
        try:
            yield _Both(reporter, written)
        finally:
            written.close()

    def explained(self, error: PackrunnerError) -> PackrunnerError:
        """The error of such a build, with where its log is."""
        written = self._log
        if written and error.foreign and error.more is None and written.path:
            from packrunner.console import units

            error.more = f"all of it ({units.number(written.foreign, 'line')}): {paths.readable(written.path)}"
        return error

    def _new_log(self) -> log.LogReporter:
        return log.LogReporter(os.path.join(paths.state_dir(), "logs"), self._request.name, redact=self._session.redact)


class _Silent:
    """Leaves out how a build ended: `ready` says that."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def emit(self, event: events.Event) -> None:
        """Pass the event on."""
        from packrunner.events import Finished

        if not isinstance(event, Finished):
            self._reporter.emit(event)


class _Both:
    """Two reporters as one."""

    def __init__(self, first: Reporter, second: Reporter) -> None:
        self._reporters = (first, second)

    def emit(self, event: events.Event) -> None:
        """Pass the event on."""
        for reporter in self._reporters:
            reporter.emit(event)
