"""The bodies of `packrunner push`, `pull`, `load` and `save`: names resolved, one result line a name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from packrunner import config, events, paths
from packrunner.cli import reference
from packrunner.console import units
from packrunner.errors import UsageError
from packrunner.lifecycle import image_names, wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.session import Session
    from packrunner.names import Digest


def push(
    session: Session,
    image: str,
    names: Sequence[str],
    *,
    compression: str | None,
    insecure: Sequence[str],
    ca_certs: Sequence[str] = (),
) -> int:
    """Send an image to its registry under its name, or under others."""
    began = time.monotonic()
    settings = config.load()
    chosen = config.resolve("compression", flag=compression, environ=session.environ, config=settings).value
    wanted = _names(image, names)
    image_names.check_registries(wanted)
    digest = session.services.push(
        reference.plain(image),
        wanted,
        compression=chosen,
        insecure=_insecure(session, insecure),
        ca_certs=ca_certs,
        reporter=session.renderer(),
    )
    return _done(session, "Pushed", wanted, digest, began)


def pull(
    session: Session,
    name: str,
    *,
    insecure: Sequence[str],
    ca_certs: Sequence[str] = (),
    docker_host: str | None = None,
) -> int:
    """Bring an image into the store."""
    began = time.monotonic()
    if not name.startswith("docker:"):
        wishes.reference(name)
    digest = session.services.pull(
        name,
        insecure=_insecure(session, insecure),
        ca_certs=ca_certs,
        docker_host=_docker_host(session, docker_host),
        reporter=session.renderer(),
    )
    return _done(session, "Pulled", [name.removeprefix("docker:").partition("@")[0]], digest, began)


def load(session: Session, image: str, names: Sequence[str], *, docker_host: str | None) -> int:
    """Give an image to the Docker engine."""
    began = time.monotonic()
    wanted = _names(image, names)
    digest = session.services.load(
        reference.plain(image),
        wanted,
        docker_host=_docker_host(session, docker_host),
        reporter=session.renderer(),
    )
    return _done(session, "Loaded", wanted, digest, began)


def save(session: Session, image: str, output: str) -> int:
    """Write an image to a file or a directory; a plain file is an archive for `docker load`."""
    began = time.monotonic()
    is_place = output.partition(":")[0] in image_names.LOCATORS
    place = image_names.output(output if is_place else f"docker-archive:{output}", paths.working_directory())
    name = image.partition("@")[0] if _is_name(image) else "image"
    digest = session.services.save(reference.plain(image), place, name, reporter=session.renderer())
    return _done(session, "Saved", [name], digest, began)


def _names(image: str, names: Sequence[str]) -> list[str]:
    """The names that were given, else the image's own. Raises UsageError for an image that has none."""
    if names:
        return [image_names.image_name(name) for name in names]
    if not _is_name(image):
        raise UsageError(f"{image} is not a name to give it", slug="name", tries=("a NAME after it",))
    return [image_names.image_name(image.partition("@")[0])]


def _is_name(image: str) -> bool:
    kind, _, _ = image.partition(":")
    return kind not in {*image_names.LOCATORS, "docker", "sha256"} and not image.startswith("@")


def _insecure(session: Session, flag: Sequence[str]) -> Sequence[str]:
    found: Sequence[str] = config.resolve("insecure-registry", flag=tuple(flag), environ=session.environ).value
    return found


def _docker_host(session: Session, flag: str | None) -> str:
    found: str | None = config.resolve("docker-host", flag=flag, environ=session.environ, config=config.load()).value
    return found or ""


def _done(session: Session, word: str, names: Sequence[str], digest: Digest, began: float) -> int:
    session.renderer().emit(events.Finished(text=f"{word} in {units.duration(time.monotonic() - began)}."))
    for name in names:
        session.result(f"{name}@{digest}")
    return 0
