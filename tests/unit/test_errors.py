"""Every slug that the code can raise is described, and only those; every class has the exit code it promises."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from packrunner import errors

if TYPE_CHECKING:
    from pathlib import Path


def raised(root: Path) -> set[str]:
    """The slugs in the code: every keyword argument `slug` that is a constant, as the formatter writes it."""
    return {slug for path in root.rglob("*.py") for slug in re.findall(r'\bslug="([^"]*)"', path.read_text())}


def described(repository: Path) -> set[str]:
    page = (repository / "docs" / "reference" / "errors.md").read_text()
    return set(re.findall(r"^### `([a-z-]+)`$", page, re.MULTILINE))


def test_every_slug_is_described_and_every_description_is_of_a_slug(repository: Path) -> None:
    assert raised(repository / "packrunner") == described(repository)


@pytest.mark.cnb("EXC-01")
@pytest.mark.cnb("EXC-02")
def test_the_exit_codes_are_those_of_the_platform_api() -> None:
    codes: dict[type[errors.ShownError], int] = {
        errors.PackrunnerError: 1,
        errors.UsageError: 2,
        errors.PlatformApiError: 11,
        errors.BuildpackApiError: 12,
        errors.EngineError: 13,
        errors.NetworkError: 14,
        errors.StoreError: 15,
        errors.CorruptError: 15,
        errors.UnsafeArchiveError: 15,
        errors.DetectNoneError: 20,
        errors.DetectErroredError: 21,
        errors.DetectError: 22,
        errors.AnalyzeError: 32,
        errors.RestoreError: 42,
        errors.BuildpackFailedError: 51,
        errors.BuildError: 52,
        errors.ExportError: 62,
        errors.RebaseError: 72,
        errors.LaunchError: 82,
        errors.ExtensionFailedError: 91,
        errors.GenerateError: 92,
        errors.ExtendError: 102,
        errors.StoppedError: 130,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert [kind for kind in codes if kind.transient] == [errors.NetworkError]


@pytest.mark.fault("PRO-01")
def test_nobody_who_goes_on_after_a_failure_takes_a_stop_for_one() -> None:
    assert not issubclass(errors.StoppedError, Exception)


def test_what_the_system_says_is_shown_without_pythons_number() -> None:
    said = {
        errors.in_words(ConnectionRefusedError(111, "Connection refused")): "Connection refused",
        errors.in_words(socket.gaierror(-2, "Name or service not known")): "Name or service not known",
        errors.in_words(ValueError("a reason")): "a reason",
        errors.in_words(EOFError()): "EOFError",
    }
    assert list(said) == list(said.values())


def came_of(error: Exception, of: Exception, *, hides: bool = False) -> Exception:
    """The first, raised because of the second."""
    error.__context__ = of
    error.__suppress_context__ = hides
    return error


def test_a_chain_of_errors_is_nearest_first_and_ends_where_it_closes() -> None:
    first, second, third = OSError("first"), KeyError("second"), ValueError("third")
    came_of(third, came_of(second, first))
    assert list(errors.chain(third)) == [third, second, first]
    came_of(first, third)
    assert list(errors.chain(third)) == [third, second, first]


def test_what_is_hidden_is_in_the_chain_if_it_is_asked_for() -> None:
    first, second = OSError("first"), KeyError("second")
    came_of(second, first, hides=True)
    assert (list(errors.chain(second)), list(errors.chain(second, hidden=False))) == ([second, first], [second])
