"""The body of `packrunner buildpack new`: a buildpack, the proof that it works, and a page about it."""

from __future__ import annotations

import os
import re
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from packrunner import events, paths, process
from packrunner.catalog import scaffold
from packrunner.console import units
from packrunner.errors import PackrunnerError, UsageError
from packrunner.formats.platform import default_target
from packrunner.lifecycle.targets import describe, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.catalog.scaffold import Example, Language, Made
    from packrunner.cli.session import Session

_PASSED = re.compile(rb"^(?P<count>\d+) passed in ")
_WIDTH = 20
_WRITTEN = {"python": "the SDK", "shell": "the shell", "go": "Go"}


def place(identity: str, directory: str | None, path: str | None) -> str:
    """Where the buildpack goes. Raises UsageError for two different places."""
    if directory is not None and path is not None:
        raise UsageError(
            "DIR and --path say the same", slug="usage", tries=(f"packrunner buildpack new {identity} {directory}",)
        )
    chosen = directory if directory is not None else path
    return os.path.join(paths.working_directory(), chosen or identity.rstrip("/").rpartition("/")[2])


def example(kind: Literal["buildpack", "composite", "extension"], language: Language | None) -> Example:
    """What is begun with. Raises UsageError for a language of what is written in none."""
    if kind == "buildpack":
        return language or "python"
    if language is not None:
        raise UsageError(
            f"--language is for buildpacks, not for --kind {kind}", slug="usage", tries=("leave out --language",)
        )
    return kind


def begin(
    session: Session,
    identity: str,
    directory: str,
    *,
    example: Example,
    version: str,
    api: str | None,
    targets: Sequence[str],
    test: bool,
) -> int:
    """Make it, make it ready where that is possible here, run its tests."""
    made = scaffold.create(
        directory,
        identity=identity,
        example=example,
        version=version,
        level=api or scaffold.API,
        targets=targets,
    )
    missing = _prepare(made, session)
    # Those of the others build images, and would make a base first.
    quick = example in _WRITTEN
    elsewhere = "" if matches(made.targets, default_target()) else describe(made.targets)
    tests = "" if missing or elsewhere or not test or not quick else _tests(made, session)
    about = f"{identity} {version}, buildpack API {api or scaffold.API}"
    session.result("\n".join(_page(made, about, example, tests=tests, missing=missing, elsewhere=elsewhere)))
    return 0


def _prepare(made: Made, session: Session) -> str:
    """Compile what is to be compiled; what is missing for that."""
    if not made.to_run:
        return ""
    program = os.path.join(made.directory, made.to_run)
    ended, lines = _run([program], made, session, dict(session.environ), phase="compile")
    if ended.code == 127:
        return "go"
    if ended.code:
        raise _broken(f"{paths.readable(program)} failed", made, lines)
    return ""


def _tests(made: Made, session: Session) -> str:
    """Run the tests; how many passed, "" where there is no pytest."""
    if find_spec("pytest") is None:
        return ""
    # The new directory stays as it is, and what surrounds it has no say.
    env = {**session.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""}
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "packrunner.testing"]
    argv = [*pytest, "-c", os.devnull, "--rootdir", made.directory, "tests"]
    ended, lines = _run(argv, made, session, env, phase="test")
    passed = next((found for line in lines if (found := _PASSED.match(line))), None)
    if ended.code or passed is None:
        raise _broken("its tests do not pass here", made, lines)
    return f"{units.number(int(passed['count']), 'test')} pass"


def _run(
    argv: list[str], made: Made, session: Session, env: dict[str, str], *, phase: str
) -> tuple[process.Ended, list[bytes]]:
    """Run a program in the new directory, which may take a while the first time."""
    began, lines = time.monotonic(), list[bytes]()
    subject = os.path.basename(made.directory)
    session.renderer().emit(events.StepStarted(phase=phase, subject=subject))
    ended = process.run(argv, env=env, output=lambda _, line: lines.append(line), cwd=made.directory)
    if not ended.code:
        seconds = time.monotonic() - began
        session.renderer().emit(events.StepDone(phase=phase, subject=subject, detail="", seconds=seconds))
    return ended, lines


def _broken(what: str, made: Made, lines: list[bytes]) -> PackrunnerError:
    return PackrunnerError(
        f"{paths.readable(made.directory)} was created, but {what}",
        slug="buildpack-new",
        foreign=tuple(line.decode(errors="replace").rstrip("\n") for line in lines[-20:]),
        kept=paths.readable(made.directory),
    )


def _page(made: Made, about: str, example: Example, *, tests: str, missing: str, elsewhere: str) -> Iterator[str]:
    """What there is now; `elsewhere` are its targets where this machine is none of them."""
    shown = paths.readable(made.directory)
    inside = ", ".join(filter(None, (units.number(len(made.files), "file"), tests)))
    yield f"Created {shown}/ ({inside})"
    install = "" if find_spec("pytest") else "pip install pytest, and "
    how = "" if tests else f": {install}pytest {shown}"
    for name, text in _parts(about, example, missing).items():
        yield f"  {name:<{_WIDTH}}  {text}"
    yield f"  {'tests/':<{_WIDTH}}  a fixture application and tests{how}"
    yield f"  {'README.md':<{_WIDTH}}  what it does, how to compose and package it"
    # A name without a slash may be that of a built-in buildpack.
    place = shown if shown.startswith(("/", "~", ".")) else f"./{shown}"
    taking = f"-b procfile --extension {place}" if example == "extension" else f"-b {place}"
    if elsewhere:
        yield f"It is for {elsewhere}: its tests pass and builds take it there, not here."
    else:
        yield f"Try it:  packrunner build demo -p {shown}/tests/fixture {taking}"


def _parts(about: str, example: Example, missing: str) -> dict[str, str]:
    """What there is to change."""
    if example == "composite":
        return {
            "buildpack.toml": about,
            "  [[order]]": "two of the built-in buildpacks; change this first",
            "package.toml": "where the buildpacks of the order are",
        }
    detect = "accepts an application with hello.txt; change this first"
    if example == "extension":
        generate = "a Dockerfile that puts a file into the run image"
        return {"extension.toml": about, "bin/detect": detect, "bin/generate": generate}
    build = f"one cached layer and one process, written with {_WRITTEN[example]}"
    parts = {"buildpack.toml": about, "bin/detect": detect, "bin/build": build}
    if example == "go":
        need = f"; needs {missing}, which is not here" if missing else ""
        parts["make.sh"] = f"compiles both programs of *.go{need}"
    return parts
