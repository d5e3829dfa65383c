"""The bodies of `packrunner compose init` and `up`: which compose file is whose, and builds when they are needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from packrunner import events, paths
from packrunner.cli import building, syncing
from packrunner.cli.services import ComposePlan
from packrunner.dev import compose
from packrunner.errors import PackrunnerError, UsageError
from packrunner.formats.sync import SyncRules

if TYPE_CHECKING:
    from packrunner.cli.session import Session
    from packrunner.lifecycle.given import Flags
    from packrunner.lifecycle.request import BuildRequest

DEFAULTS = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDE = "compose.override.yaml"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What both commands were told about the compose file."""

    service: str = ""
    file: str = ""
    port: int = 8080


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The file to write, and the user's own that it adds to, if any."""

    file: str
    beside: str = ""
    service: str


def init(flags: Flags, session: Session, asked: Asked) -> int:
    """Write the file."""
    request = building.resolve(flags, session)
    place = find(request, asked)
    text = written(syncing.of_source(request, session), request, place, asked)
    _write(place.file, text)
    session.result(paths.readable(place.file))
    return 0


def up(flags: Flags, session: Session, asked: Asked) -> int:
    """Build, write the file, and run Compose until it ends or is stopped."""
    asked_for = building.resolve(flags, session)
    place = find(asked_for, asked)
    request = replace(asked_for, name=syncing.project_of(asked_for).development)
    session.services.compose_version(request)

    def text() -> str:
        return written(_rules(request, session), asked_for, place, asked, user=_user(request, session))

    def first() -> ComposePlan:
        building.build(request, session)
        _write(place.file, text())
        files = tuple(filter(None, (place.beside, place.file)))
        return ComposePlan(rules=_rules(request, session), files=files, service=place.service)

    def again() -> bool:
        try:
            building.build(request, session)
        except PackrunnerError as error:
            session.renderer().problem(error)
            session.renderer().emit(events.Warned(text="the old version still serves"))
            return False
        if not _holds(place.file, text()):
            session.renderer().emit(events.Warned(text="the rules have changed", hint="start it again"))
        return True

    return session.services.compose(request, first, again=again, reporter=session.renderer())


def _holds(path: str, text: str) -> bool:
    """Whether a file still is what would be written now."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read() == text + "\n"
    except OSError:
        return False


def find(request: BuildRequest, asked: Asked) -> Place:
    """Which file to write, and for which service. Raises UsageError rather than take somebody's file."""
    default = asked.service or syncing.project_of(request).name
    if asked.file:
        return Place(file=os.path.abspath(asked.file), service=default)
    own = next((name for name in DEFAULTS if os.path.lexists(os.path.join(request.source, name))), "")
    if not own or ours(os.path.join(request.source, own)):
        return Place(file=os.path.join(request.source, own or DEFAULTS[0]), service=default)
    beside = os.path.join(request.source, own)
    services = _services(beside)
    if default not in services:
        raise UsageError(
            f"{paths.readable(beside)} has no service {default}",
            slug="compose-service",
            cause=f"its services are {', '.join(services)}" if services else "it has no services",
            tries=tuple(f"packrunner compose up --service {name}" for name in services[:2]),
        )
    return Place(file=os.path.join(request.source, OVERRIDE), beside=beside, service=default)


def ours(path: str) -> bool:
    """Whether a file was made here, and may be replaced."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().removeprefix("# ").startswith(compose.MADE_BY)
    except OSError:
        return False


def written(rules: SyncRules, request: BuildRequest, place: Place, asked: Asked, *, user: str = "") -> str:
    """The file's text."""
    project = syncing.project_of(request, asked.port, user)
    watched = os.path.relpath(request.source, os.path.dirname(place.file))
    return compose.text(compose.document(rules, project, place.service, path=watched, adds=bool(place.beside)))


def _rules(request: BuildRequest, session: Session) -> SyncRules:
    """The rules of the image that was just built."""
    try:
        return syncing.of_image(request.name, session)
    except UsageError as error:
        if error.slug != "no-sync-rules":
            raise
        return SyncRules()


def _user(request: BuildRequest, session: Session) -> str:
    """The number of the user of the image that was just built."""
    found = session.services.store().read(request.name)
    uid = found.image.user.partition(":")[0] if found else ""
    return uid if uid.isdigit() else ""


def _write(path: str, text: str) -> None:
    if os.path.lexists(path) and not ours(path):
        raise UsageError(
            f"{paths.readable(path)} was not made by packrunner",
            slug="compose-file",
            cause="it would be overwritten",
            tries=("--file FILE, and docker compose -f FILE",),
        )
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as e:
        raise UsageError(f"{paths.readable(path)} cannot be written: {e.strerror}", slug="compose-file") from e


def _services(path: str) -> list[str]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            found: Any = yaml.safe_load(file)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as e:
        raise UsageError(f"{paths.readable(path)} cannot be read", slug="compose-file", cause=str(e)) from e
    services = found.get("services") if isinstance(found, dict) else None
    return [str(name) for name in services] if isinstance(services, dict) else []
