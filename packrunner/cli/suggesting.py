"""The body of `packrunner builder suggest`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from packrunner import events, paths
from packrunner.catalog import suggest
from packrunner.console.redact import visible
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.suggest import Found, Known, Suggestion
    from packrunner.cli.session import Session


def suggest_builders(session: Session, directory: str) -> int:
    """Say which builders there are, those that fit the application first."""
    found = suggest.languages(_names(directory))
    suggestions = suggest.suggest(found, _here(session))
    if session.json:
        session.document("builder-suggestions/1", _document(directory, found, suggestions))
        return 0
    session.result("\n".join(page(found, suggestions)))
    best = suggestions[0]
    chosen = best.builder.name if best.fits else suggest.KNOWN[0].name
    session.renderer().emit(
        events.Finished(
            text=f"Build with one: packrunner build NAME --builder {chosen}.",
            hint=f"Always: packrunner config builder {chosen}",
        )
    )
    return 0


def _names(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if not entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"there is no directory {paths.readable(directory)}", slug="no-such-path", tries=("--path DIR",)
        ) from error
    except OSError as error:
        raise disk_error(error, directory) from error


def _here(session: Session) -> list[Known]:
    """The builders in the local store."""
    found = []
    for stored in session.services.store().list():
        if builder.METADATA not in stored.image.labels:
            continue
        try:
            about = builder.read_metadata(stored.image.labels, where=stored.name)
        except UsageError:
            continue  # it says of itself what nobody can read, and whoever builds with it hears so
        listed = [one.id for one in (about.buildpacks or ()) if one.id] if about else []
        text = about.description if about and about.description else ", ".join(listed)
        found.append(suggest.Known(name=stored.name, vendor="here", languages=(), about=text, here=True))
    return found


def page(found: Sequence[Found], suggestions: Sequence[Suggestion]) -> list[str]:
    """The page for people: what fits is marked."""
    what = "; ".join(f"{one.language} ({', '.join(one.files[:3])})" for one in found)
    lines = [f"This looks like {visible(what)}." if found else "Nothing here tells a language.", ""]
    width = max(len(one.builder.name) for one in suggestions)
    for one in suggestions:
        known = one.builder
        about = ", ".join(known.languages) or known.about
        about = f"{about} ({known.about})" if known.languages and known.about else about
        lines.append(f"{'*' if one.fits else ' '} {known.name:<{width}}  {known.vendor:<10}  {visible(about)}".rstrip())
    return lines


def _document(directory: str, found: Sequence[Found], suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    return {
        "path": directory,
        "languages": [{"language": one.language, "files": list(one.files)} for one in found],
        "builders": [
            {
                "builder": one.builder.name,
                "vendor": one.builder.vendor,
                "about": one.builder.about,
                "languages": list(one.builder.languages),
                "fits": list(one.fits),
                "here": one.builder.here,
            }
            for one in suggestions
        ],
    }
