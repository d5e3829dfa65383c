"""From what is typed behind --buildpack to a directory that holds a buildpack."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from packrunner.catalog.builtin import NAMESPACE, short_names
from packrunner.errors import UsageError
from packrunner.paths import readable

Origin = Literal["directory", "built-in", "inline", "builder", "package", "archive", "address", "git"]
"""Where a buildpack comes from; `inline` is the project file."""


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A buildpack's directory; `version` is the one asked for, empty for any, `kind` how it comes to be here."""

    asked: str
    source: str
    version: str = ""
    kind: Origin = "directory"


def locate(text: str, *, builtin_dir: str) -> Located:
    """Find a buildpack by the name of a built-in one, `id@version`, or a directory.

    A path starts with `/`, `./` or `../`; any other text is the name of a built-in buildpack, else a directory that
    holds a buildpack.toml. Raises UsageError, slug `unknown-buildpack`.
    """
    if text in {".", ".."} or text.startswith(("/", "./", "../")):
        return _directory(text)
    identity, _, version = text.partition("@")
    name = identity.removeprefix(NAMESPACE)
    if name in short_names(builtin_dir):
        return Located(asked=text, source=os.path.join(builtin_dir, name), version=version, kind="built-in")
    if text and os.path.isfile(os.path.join(text, "buildpack.toml")):
        return _directory(text)
    raise unknown(text, builtin_dir)


def locate_extension(text: str) -> Located:
    """Find an image extension by its directory. Raises UsageError, slug `unknown-extension`."""
    source = os.path.realpath(text)
    if os.path.isfile(os.path.join(source, "extension.toml")):
        return Located(asked=text, source=source)
    there = os.path.isdir(source)
    raise UsageError(
        f"{readable(text)} holds no extension.toml" if there else f"there is no directory {readable(text)}",
        slug="unknown-extension",
        cause="an image extension is a directory with extension.toml and bin/generate, or a directory generate",
        tries=(
            _instead("--buildpack", text, "buildpack.toml") or "--extension ./DIR, for the directory that holds it",
        ),
    )


def check_version(located: Located, version: str) -> None:
    """Refuse a version that is not the one there is."""
    if located.version and located.version != version:
        raise UsageError(
            f"{located.asked} is not here: the version is {version}",
            slug="unknown-buildpack",
            tries=(f"--buildpack {located.asked.partition('@')[0]}@{version}",),
        )


def unknown(text: str, builtin_dir: str) -> UsageError:
    """The error for a name that nothing has, with the nearest ones that something has."""
    # 4 ms that only a typo should cost.
    from difflib import get_close_matches

    have = short_names(builtin_dir)
    name = text.removeprefix(NAMESPACE).partition("@")[0]
    close = get_close_matches(name.lower(), have, n=2)
    tries = tuple(f"--buildpack {match}" for match in close)
    if not tries:
        tries = ("--buildpack ./DIR, for a directory that holds a buildpack.toml",)
    listed = f"built in: {', '.join(have)}" if have else "there are no built-in buildpacks"
    if os.path.isdir(text):
        listed = f"the directory {readable(text)} holds no buildpack.toml; {listed}"
    brief = f"there is no buildpack {text!r}" + (f": did you mean {close[0]}" if close else "")
    return UsageError(brief, slug="unknown-buildpack", cause=listed, tries=tries)


def _directory(text: str) -> Located:
    # Only the directories above may be links: the tree is entered without following any.
    source = os.path.realpath(text)
    if os.path.isfile(os.path.join(source, "buildpack.toml")):
        return Located(asked=text, source=source)
    there = os.path.isdir(source)
    raise UsageError(
        f"{text} holds no buildpack.toml" if there else f"there is no directory {text}",
        slug="unknown-buildpack",
        cause="a buildpack is a directory with buildpack.toml, bin/detect and bin/build",
        tries=(
            _instead("--extension", text, "extension.toml") or "--buildpack ./DIR, for the directory that holds it",
        ),
    )


def _instead(flag: str, text: str, descriptor: str) -> str:
    """The other flag, for a directory that holds what the other one takes; "" for any other."""
    if not os.path.isfile(os.path.join(text, descriptor)):
        return ""
    shown = readable(text)
    return f"{flag} {shown}" if shown.startswith(("/", "~", ".")) else f"{flag} ./{shown}"
