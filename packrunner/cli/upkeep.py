"""The bodies of `packrunner rebase` and `packrunner builder update`; which builder is meant."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from packrunner import config, events, paths
from packrunner.cli import logs, reference
from packrunner.console import units
from packrunner.console.reporters import choose
from packrunner.console.terminal import Terminal
from packrunner.errors import UsageError
from packrunner.lifecycle import image_names
from packrunner.lifecycle.image_names import LOCATORS, locator

if TYPE_CHECKING:
    from packrunner.cli.services import BaseUpdate, Rebased
    from packrunner.cli.session import Session


def begin(session: Session, *, quiet: int, verbose: int, json: bool) -> None:
    """Settle how much is said: with --json warnings and errors only."""
    settings = config.load()
    quiet = config.resolve("quiet", flag=quiet or None, environ=session.environ, config=settings).value
    session.verbose = verbose or session.verbose
    session.json = json
    terminal = Terminal.of(sys.stderr, session.environ, session.color)
    session.reporter = choose(
        "json" if json else "auto",
        sys.stderr,
        terminal,
        quiet=max(quiet, int(json)),
        verbose=session.verbose,
        animation=config.resolve("animation", environ=session.environ, config=settings).value,
        redact=session.redact,
    )
    if session.verbose:
        logs.show_debugging()


def rebase(
    session: Session,
    image: str,
    *,
    run_image: str | None,
    tags: tuple[str, ...],
    force: bool,
    ca_certs: tuple[str, ...] = (),
) -> int:
    """Rebase one image; its result is `name@digest`, as of a build."""
    began = time.monotonic()
    here = paths.working_directory()
    name, source = _source(image, has_tags=bool(tags))
    found = session.services.rebase(
        source,
        name=name,
        run_image=run_image and locator(run_image, here),
        outputs=tuple(locator(tag, here) for tag in tags),
        force=force,
        ca_certs=ca_certs,
        reporter=session.renderer(),
    )
    return _rebased(session, name, tags, found, began)


def rebase_there(
    session: Session,
    name: str,
    *,
    run_image: str | None,
    tags: tuple[str, ...],
    force: bool,
    insecure: tuple[str, ...],
    ca_certs: tuple[str, ...] = (),
) -> int:
    """Rebase one image in its registry; its result is `name@digest`."""
    began = time.monotonic()
    names = tuple(image_names.image_name(tag) for tag in (tags or (name,)))
    image_names.check_registries((image_names.image_name(name.partition("@")[0]), *names))
    found = session.services.rebase_there(
        name,
        run_image=run_image,
        tags=names if tags else (),
        force=force,
        insecure=config.resolve("insecure-registry", flag=insecure, environ=session.environ).value,
        ca_certs=ca_certs,
        reporter=session.renderer(),
    )
    return _rebased(session, name, tags, found, began)


def _rebased(session: Session, name: str, tags: tuple[str, ...], found: Rebased, began: float) -> int:
    shown = reference.short(tags[0] if tags else name)
    if session.json:
        session.document("rebase/1", _rebase_json(shown, found))
        return 0
    if found.changed:
        spent = units.duration(time.monotonic() - began)
        text = f"Rebased in {spent}. Before: {reference.short(name)}@{found.before.short}"
    else:
        text = f"{reference.short(name)} is on the newest {found.base} already ({found.new_base[7:19]})."
    session.renderer().emit(events.Finished(text=text))
    session.result(f"{shown}@{found.digest}")
    return 0


def _source(text: str, *, has_tags: bool) -> tuple[str, str]:
    """The name to show and write, and what is read. Raises UsageError for an image without a name to change."""
    if text.partition(":")[0] in LOCATORS:
        return text, locator(text, paths.working_directory())
    name, at, _ = text.partition("@")
    plain = reference.plain(text)
    if (at and not name) or (not at and _is_digest(text)):
        if not has_tags:
            raise UsageError(
                f"{text} is a digest: no name would mean the rebased image", slug="name", tries=("--tag NAME",)
            )
        return text, plain
    return name, plain


def _is_digest(text: str) -> bool:
    return text.startswith("sha256:")


def _rebase_json(name: str, found: Rebased) -> dict[str, Any]:
    return {
        "name": name,
        "digest": found.digest,
        "before": found.before,
        "changed": found.changed,
        "base": {"name": found.base, "before": found.old_base, "after": found.new_base},
        "layers": {"replaced": found.replaced, "kept": found.kept},
        "packages": None if found.packages is None else [change.to_json() for change in found.packages],
    }


def chosen_builder(session: Session, builder: str | None) -> str:
    """The builder that was named, else the configured one; a locator with an absolute path."""
    found = config.resolve("builder", flag=builder, environ=session.environ, config=config.load()).value
    return locator(found, paths.working_directory())


def update_builder(
    session: Session,
    builder: str | None,
    *,
    config_file: str | None = None,
    dry_run: bool,
    ca_certs: tuple[str, ...] = (),
) -> int:
    """Update a base, or with its builder.toml a builder; the result is `debian:13@digest of the lock`."""
    began = time.monotonic()
    chosen = chosen_builder(session, builder)
    if config_file is None:
        found = session.services.update_base(chosen, dry_run=dry_run, reporter=session.renderer(), ca_certs=ca_certs)
    else:
        from packrunner.cli.builder_wish import here

        made = here(chosen, config_file, session.environ)
        found = session.services.update_recipe(made, dry_run=dry_run, reporter=session.renderer(), ca_certs=ca_certs)
    again = f"{found.reference} --config {config_file}" if config_file else found.reference
    if session.json:
        session.document("builder-update/1", _update_json(found, dry_run=dry_run))
        return 0
    _tell(session, found)
    spent = units.duration(time.monotonic() - began)
    hint = ""
    if not found.changed:
        text = f"{found.reference} has the newest packages already ({found.after[7:19]})."
    elif dry_run:
        text, hint = "Nothing was changed.", f"Take them: packrunner builder update {again}"
    else:
        text = f"{'Updated' if found.before else 'Made'} {found.reference} in {spent}."
        names = [reference.short(name) for name in found.behind]
        if len(names) == 1:
            hint = f"Patch the image on the old one: packrunner rebase {names[0]}"
        elif names:
            hint = f"Images on the old one are {units.names(names)}: packrunner rebase IMAGE"
    session.renderer().emit(events.Finished(text=text, hint=hint))
    if found.builder or not config_file:
        session.result(f"{found.reference}@{found.builder or found.after}")
    return 0


def _tell(session: Session, found: BaseUpdate) -> None:
    from packrunner.bases.installed import summary

    if not found.changed or not found.before:
        return
    reporter = session.renderer()
    for image, packages in found.images.items():
        urgent = sum(bool(change.security) for change in packages)
        text = summary(packages) + (f"; {urgent} from the security archive" if urgent else "")
        reporter.emit(events.Noted(text=f"{image}: {text}", always=True))
        for change in packages:
            reporter.emit(events.Noted(text=f"{image}: {change}"))


def _update_json(found: BaseUpdate, *, dry_run: bool) -> dict[str, Any]:
    return {
        "builder": found.reference,
        "before": found.before,
        "after": found.after,
        "changed": found.changed and not dry_run,
        "newer": found.changed,
        "images": {image: [change.to_json() for change in packages] for image, packages in found.images.items()},
        "behind": list(found.behind),
    }
