"""The one error tree: what happened, the specifics, what to do next, an exit code, whether a retry can help.

    PackrunnerError            1
      UsageError               2   arguments, configuration, project files
        ArgumentsError         3   flags and inputs of `packrunner lifecycle`
      ExperimentalError        1   asked for without CNB_EXPERIMENTAL_MODE
      PlatformApiError        11
      BuildpackApiError       12
      EngineError             13   no place to run buildpacks, or it broke
      NetworkError            14   transient
        RefusedError          14   a login, a certificate, --offline: a retry changes nothing
      StoreError              15   local state and disk
        CorruptError          15   bytes that are not what their digest says
        UnsafeArchiveError    15   an archive that reaches outside its root
      DetectNoneError         20
      DetectErroredError      21
      DetectError             22
      AnalyzeError            32
      RestoreError            42
      BuildpackFailedError    51
      BuildError              52
      ExportError             62
      RebaseError             72
      LaunchError             82
    StoppedError             130   128 + the signal

Codes follow the Platform API's exit-code tables; 13 to 15 are packrunner's own. Every error has a slug,
documented in docs/reference/errors.md (a test compares the two).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class ShownError(BaseException):
    """What ends a command, as it is shown.

    `brief` continues "error[slug]: " (lower case, no full stop). The keyword fields become the labelled lines
    below it, in the order cause, at, try, or, more, kept; `foreign` is somebody else's output, shown verbatim.
    """

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(
        self,
        brief: str,
        *,
        slug: str,
        cause: str | None = None,
        at: str | None = None,
        tries: tuple[str, ...] = (),
        more: str | None = None,
        kept: str | None = None,
        foreign: tuple[str, ...] = (),
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.slug = slug
        self.cause = cause
        self.at = at
        self.tries = tries
        self.more = more
        self.kept = kept
        self.foreign = foreign


class PackrunnerError(ShownError, Exception):
    """Something the user can understand and act upon."""


class UsageError(PackrunnerError):
    """What was typed, or a file written for packrunner, cannot be right."""

    exit_code = 2


class ArgumentsError(UsageError):
    """A flag or another input of a lifecycle phase cannot be right (EXC-01)."""

    exit_code = 3


class ExperimentalError(PackrunnerError):
    """A feature that the platform has to allow first (EXC-05)."""


class PlatformApiError(PackrunnerError):
    """The Platform API asked for is not supported."""

    exit_code = 11


class BuildpackApiError(PackrunnerError):
    """A buildpack's API version is not supported (BPD-02)."""

    exit_code = 12


class EngineError(PackrunnerError):
    """There is no place to run buildpacks in, or it broke."""

    exit_code = 13


class NetworkError(PackrunnerError):
    """A download failed in a way that may pass."""

    exit_code = 14
    transient = True


class RefusedError(NetworkError):
    """A connection is refused for a reason that stays."""

    transient = False


class StoreError(PackrunnerError):
    """Local state cannot be read or written."""

    exit_code = 15


class CorruptError(StoreError):
    """Bytes are not what their digest, size or format says."""


class UnsafeArchiveError(StoreError):
    """An archive, or a tree a buildpack wrote, reaches outside its root."""


class DetectNoneError(PackrunnerError):
    """No group of buildpacks accepts the application, and none erred."""

    exit_code = 20


class DetectErroredError(PackrunnerError):
    """No group of buildpacks accepts the application, and at least one erred."""

    exit_code = 21


class DetectError(PackrunnerError):
    """Any other failure of the detect phase."""

    exit_code = 22


class ExtensionFailedError(PackrunnerError):
    """An extension's bin/generate exited with a non-zero status (EXT-05)."""

    exit_code = 91


class GenerateError(PackrunnerError):
    """Any other failure of the generate phase."""

    exit_code = 92


class ExtendError(PackrunnerError):
    """An image could not be extended."""

    exit_code = 102


class AnalyzeError(PackrunnerError):
    """The analyze phase failed."""

    exit_code = 32


class RestoreError(PackrunnerError):
    """The restore phase failed."""

    exit_code = 42


class BuildpackFailedError(PackrunnerError):
    """A buildpack's bin/build exited with a non-zero status (BLD-06)."""

    exit_code = 51


class BuildError(PackrunnerError):
    """What a buildpack wrote breaks the specification."""

    exit_code = 52


class ExportError(PackrunnerError):
    """The image cannot be composed or written."""

    exit_code = 62


class RebaseError(PackrunnerError):
    """The image cannot be put on another base."""

    exit_code = 72


class LaunchError(PackrunnerError):
    """An image cannot be started."""

    exit_code = 82


class StoppedError(ShownError):
    """The user, or the system, asked to stop: an answer, not a failure.

    It comes at any moment and is no `Exception`: who goes on after a failure would take it for one.
    """

    exit_code = 130

    def __init__(self, signal: int) -> None:
        super().__init__("stopped", slug="stopped")
        self.signal = signal


def chain(error: BaseException, *, hidden: bool = True) -> Iterator[BaseException]:
    """An error and those that it came of, nearest first; each once, for a chain may be a circle.

    Without `hidden` it ends where `raise ... from None` says that it does.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (one.__context__ if hidden or not one.__suppress_context__ else None)


def in_words(error: BaseException) -> str:
    """What an exception of the system says, without Python's number for it: `Connection refused`."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        # Numbers below zero are the resolver's, which has words of its own.
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    return str(error) or type(error).__name__
