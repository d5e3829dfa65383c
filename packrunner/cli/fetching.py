"""The body of `packrunner builder fetch`."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from packrunner import config, events, paths
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from packrunner.cli.session import Session

_CACHE = "cache"


def fetch(
    session: Session,
    builder: str | None,
    *,
    to: str | None,
    taken: str | None,
    application: str | None,
    ca_certs: tuple[str, ...],
) -> int:
    """Fetch into a directory, or take from one; the results are the names of what can be built with."""
    if (to is None) == (taken is None):
        raise UsageError(
            "builder fetch needs either --to or --from",
            slug="usage",
            tries=("packrunner builder fetch --to DIR", "packrunner builder fetch --from DIR"),
        )
    if taken is not None:
        if builder or application:
            raise UsageError("--from takes everything that is there", slug="usage", tries=(f"--from {taken}, alone",))
        return _take(session, os.path.abspath(taken))
    chosen = config.resolve("builder", flag=builder, environ=session.environ, config=config.load()).value
    directory = os.path.abspath(to or "")
    found = session.services.fetch_builder(chosen, directory, ca_certs=ca_certs, reporter=session.renderer())
    if application is not None:
        _build(session, application, chosen, directory, ca_certs)
    shown = paths.readable(directory)
    hint = f"On the other machine: packrunner builder fetch --from {shlex.quote(shown)}"
    session.renderer().emit(events.Finished(text=f"Fetched {', '.join(found)} into {shown}.", hint=hint))
    session.result("\n".join(found))
    return 0


def _take(session: Session, directory: str) -> int:
    found = session.services.take_builders(directory, reporter=session.renderer())
    cache = os.path.join(directory, _CACHE)
    words = ["packrunner", "build", "--offline"]
    if os.path.isdir(cache):
        words += ["--cache", f"type=dir,path={paths.readable(cache)}"]
    session.renderer().emit(
        events.Finished(text=f"Took {', '.join(found) or 'nothing'}.", hint=f"Build with it: {shlex.join(words)}")
    )
    session.result("\n".join(found))
    return 0


def _build(session: Session, application: str, builder: str, directory: str, ca_certs: tuple[str, ...]) -> None:
    """Build the application once, with a cache in the directory: it then holds what the buildpacks downloaded."""
    from packrunner.cli import building
    from packrunner.lifecycle.given import Flags

    flags = Flags(
        cwd=paths.working_directory(),
        path=application,
        builder=builder,
        caches=(f"type=dir,path={os.path.join(directory, _CACHE)}",),
        ca_certs=ca_certs,
        rebuild=True,
    )
    request = building.resolve(flags, session)
    building.tell(request, session.renderer())
    session.services.build(request, session.renderer())
