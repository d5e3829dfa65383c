"""A finished image into its registry and into a Docker engine; and before that, whether it may go there at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from packrunner.errors import ExportError, PackrunnerError
from packrunner.events import StepDone, StepProgress, StepStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packrunner.cli.wiring.registries import Registries
    from packrunner.events import Reporter
    from packrunner.images.compress import Compression
    from packrunner.images.image import Image
    from packrunner.images.registry.registry import Pushed
    from packrunner.images.several import Several
    from packrunner.images.store import LocalStore


class DaemonImages(Protocol):
    """The images of a Docker engine (images/daemon.py)."""

    def inspect(self, reference: str) -> Mapping[str, Any] | None:
        """What the engine says of an image; None where it has none."""

    def read(self, reference: str, store: LocalStore) -> Image | None:
        """An image, its blobs in the store."""

    def load(self, image: Image, names: Sequence[str], store: LocalStore) -> str:
        """Put an image into the engine; its id there."""


def check(registries: Registries, names: Sequence[str], *, nothing: str = "nothing was built") -> None:
    """Raise unless every name can be written to (RES-06), saying what did not happen."""
    for name in names:
        error = registries.client.refusal(name)
        if error:
            error.brief += f"; {nothing}"
            raise error


def push(
    registries: Registries,
    image: Image | Several,
    names: Sequence[str],
    images: LocalStore,
    *,
    compression: Compression,
    reporter: Reporter,
) -> Pushed:
    """Send the image to its registry under every name. Raises the first name's own error where one failed (EXP-32)."""
    from packrunner.console.units import number, size
    from packrunner.images.reference import Reference

    began = time.monotonic()
    registry = Reference.parse(names[0]).registry
    reporter.emit(StepStarted(phase="push", subject=registry))
    pushed = registries.client.push(image, names, images, compression=compression, progress=_progress(reporter, "sent"))
    if pushed.failed:
        raise _failed(pushed)
    there = f"{number(pushed.layers_there, 'layer')} there already"
    sent = f"{pushed.layers_sent} sent, {size(pushed.sent)}" if pushed.layers_sent else "nothing to send"
    detail = f"{sent}; {there}" if pushed.layers_there else sent
    reporter.emit(StepDone(phase="push", subject=registry, detail=detail, seconds=time.monotonic() - began))
    return pushed


def _failed(pushed: Pushed) -> PackrunnerError:
    """The error for names that could not be written; the others were."""
    name, error = next(iter(pushed.failed.items()))
    if not pushed.written and len(pushed.failed) == 1:
        return error
    return ExportError(
        f"the image could not be written as {', '.join(pushed.failed)}",
        slug="image-write",
        cause="; ".join(f"{one}: {why.brief}" for one, why in pushed.failed.items()),
        kept=f"it is there as {', '.join(pushed.written)}" if pushed.written else None,
        tries=error.tries or (f"packrunner push IMAGE {name}",),
    )


def load(daemon: DaemonImages, image: Image, names: Sequence[str], images: LocalStore, reporter: Reporter) -> str:
    """Give the image to a Docker engine under every name; its id there."""
    began = time.monotonic()
    reporter.emit(StepStarted(phase="load", subject="docker"))
    found = daemon.load(image, names, images)
    detail = ", ".join(names)
    reporter.emit(StepDone(phase="load", subject="docker", detail=detail, seconds=time.monotonic() - began))
    return found


def _progress(reporter: Reporter, verb: str) -> Callable[[int, int], None]:
    from packrunner.console.units import size

    def show(done: int, total: int) -> None:
        reporter.emit(StepProgress(detail=f"{size(done)} of {size(total)} {verb}", done=done, total=total))

    return show
