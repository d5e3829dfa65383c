"""Which builders there are, what each one is for, and which of them fit an application, by the names of its files.

Nothing is run and nobody is asked: what really fits is for `detect` to say.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OWN = "packrunner"

# What tells a language: any of these names, at the top of an application.
_SIGNS: dict[str, tuple[str, ...]] = {
    "Python": (
        *("requirements.txt", "pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "poetry.lock", "uv.lock"),
        *("environment.yml", "*.py"),
    ),
    "Node.js": ("package.json",),
    "Go": ("go.mod", "go.work", "main.go"),
    "Java": ("pom.xml", "build.gradle", "build.gradle.kts", "mvnw", "gradlew", "*.jar", "*.war"),
    "Ruby": ("Gemfile", "config.ru"),
    "PHP": ("composer.json", "index.php"),
    ".NET": ("*.csproj", "*.fsproj", "*.vbproj", "*.sln"),
    "Scala": ("build.sbt",),
    "Rust": ("Cargo.toml",),
    "Dart": ("pubspec.yaml",),
    "Procfile": ("Procfile",),
}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A builder: whose it is, what it builds, and a few words about it. `here` is for one that is in the store."""

    name: str
    vendor: str
    languages: tuple[str, ...]
    about: str = ""
    here: bool = False


_MANY = ("Go", "Java", "Node.js", "PHP", "Python", "Ruby")
_RECIPES = tuple(
    Known(name=f"debian:{version}", vendor=OWN, languages=("Python", "Procfile"), about=f"Debian {version}, made here")
    for version in ("13", "12")
)
_PAKETO = tuple(
    Known(name=f"paketobuildpacks/{name}", vendor="Paketo", languages=languages, about=about)
    for name, languages, about in (
        ("builder-jammy-base", (".NET", "Go", "Java", "Node.js", "Python", "Ruby"), "Ubuntu 22.04"),
        ("builder-jammy-full", (".NET", *_MANY), "Ubuntu 22.04, with more packages"),
        ("builder-jammy-tiny", ("Go", "Java"), "Ubuntu 22.04 to build in, a run image without a shell"),
        ("builder-jammy-buildpackless-static", (), "for static programs, and buildpacks of your own"),
        ("ubuntu-noble-builder", (".NET", "Java", "Node.js"), "Ubuntu 24.04"),
        ("builder-ubi8-base", ("Java", "Node.js"), "Red Hat's Universal Base Image 8"),
        ("ubi-9-builder", ("Node.js",), "Red Hat's Universal Base Image 9"),
        ("ubi-10-builder", ("Node.js",), "Red Hat's Universal Base Image 10"),
    )
)
KNOWN: tuple[Known, ...] = (
    *_RECIPES,
    Known(
        name="gcr.io/buildpacks/builder:google-22",
        vendor="Google",
        languages=(".NET", "Dart", *_MANY),
        about="Ubuntu 22.04",
    ),
    Known(name="heroku/builder:24", vendor="Heroku", languages=(".NET", *_MANY, "Scala"), about="Ubuntu 24.04"),
    Known(name="heroku/builder:22", vendor="Heroku", languages=(*_MANY, "Scala"), about="Ubuntu 22.04"),
    *_PAKETO,
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A language, and the files by which it is told."""

    language: str
    files: tuple[str, ...]


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A builder, and which of the application's languages it builds."""

    builder: Known
    fits: tuple[str, ...]


def languages(names: Iterable[str]) -> tuple[Found, ...]:
    """What an application with these files is written in, the strongest sign first."""
    there = sorted(names)
    found = []
    for language, signs in _SIGNS.items():
        matching = [name for sign in signs for name in there if fnmatchcase(name, sign)]
        if matching:
            found.append(Found(language=language, files=tuple(dict.fromkeys(matching))))
    # A Procfile says how to start it, and nothing of what it is.
    return tuple(sorted(found, key=lambda one: one.language == "Procfile"))


def suggest(found: Sequence[Found], here: Sequence[Known] = ()) -> tuple[Suggestion, ...]:
    """Every builder, those first that build all that was found, packrunner's own and those that are here before others.

    Of a builder that is `here` only its buildpacks could tell what it builds, so it is listed and fits nothing.
    """
    wanted = [one.language for one in found]
    known = {one.name: one for one in (*here, *KNOWN)}
    listed = [
        Suggestion(builder=one, fits=tuple(name for name in wanted if name in one.languages)) for one in known.values()
    ]
    real = [name for name in wanted if name != "Procfile"] or wanted
    return tuple(
        sorted(
            listed,
            key=lambda one: (-len([name for name in one.fits if name in real]), one.builder.vendor != OWN),
        )
    )
