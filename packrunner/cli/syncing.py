"""The body of `packrunner sync-rules`: rules from detection or from an image, for people and for programs."""

from __future__ import annotations

import shlex
import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.cli import building
from packrunner.console import units
from packrunner.console.redact import visible
from packrunner.errors import UsageError
from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.cli.session import Session
    from packrunner.console.terminal import Terminal
    from packrunner.dev.covering import Project
    from packrunner.events import Reporter
    from packrunner.formats.sync import Rule, SyncRules
    from packrunner.lifecycle.given import Flags
    from packrunner.lifecycle.request import BuildRequest

FORMATS = ("tilt", "compose", "skaffold", "devcontainer")
ACTION, PATTERNS = 10, 42
"""Columns of a rule's action and patterns."""


def perform(flags: Flags, session: Session, *, form: str | None, image: str | None) -> int:
    """The rules on stdout."""
    if form is not None and form not in {"json", *FORMATS}:
        raise UsageError(
            f"there is no format {form}",
            slug="usage",
            cause=f"there are json, {', '.join(FORMATS)}",
            tries=("--format json",),
        )
    if form is not None and form in FORMATS:
        session.result(_written(form, building.resolve(flags, session), session, image))
        return 0
    rules = of_image(image, session) if image is not None else of_source(building.resolve(flags, session), session)
    if form == "json":
        session.document("sync-rules/1", document(rules))
    else:
        session.result("\n".join(page(rules, session.out, session.redact)))
    return 0


def _written(form: str, request: BuildRequest, session: Session, image: str | None) -> str:
    """The rules in another tool's words; an image's, too, for the application that it is used with."""
    from packrunner.dev import writers

    rules = of_image(image, session) if image is not None else of_source(request, session)
    return writers.write(form, rules, project_of(request))


def project_of(request: BuildRequest, port: int = 8080, user: str = "") -> Project:
    """What rules are written out for."""
    from packrunner.cli.developing import development_name
    from packrunner.dev.covering import Project

    path, slash, last = request.name.rpartition("/")
    image = path + slash + last.partition("@")[0].partition(":")[0]
    return Project(
        image=image,
        development=str(development_name(request.name)),
        path=request.source,
        port=port,
        user=user or _user(request),
    )


def _user(request: BuildRequest) -> str:
    """The number that images of our own bases have for their user, or that was asked for."""
    from packrunner.bases.accounts import USER

    uid = USER.uid if request.shape.uid is None else request.shape.uid
    return str(uid) if request.builder.startswith("debian:") else ""


def of_source(request: BuildRequest, session: Session) -> SyncRules:
    """The rules of the buildpacks that would build the application. Raises what detection raises."""
    from packrunner.cli import detecting
    from packrunner.dev import rules
    from packrunner.lifecycle import bindings

    held = bindings.hold(request.bindings, request.secrets, session.environ)
    progress = "json" if session.json else request.progress
    session.reporter = building.reporter(request, session, progress=progress, hidden=held.texts())
    building.tell(request, session.reporter)
    answer = session.services.detect(request, session.reporter, held)
    if (error := answer.error) is not None:
        error.more = error.more or detecting.command(request)
        raise error
    return rules.of_detection(answer, warn=_warner(session.reporter))


def of_image(name: str, session: Session) -> SyncRules:
    """The rules that an image carries. Raises UsageError."""
    from packrunner.cli import reference
    from packrunner.dev import rules

    if name.startswith("docker:"):
        found = reference.looked_up(name, session, ())
    else:
        found = reference.find(name, session.services.store())
    return rules.of_image(dict(found.image.labels), warn=_warner(session.renderer()))


def _warner(reporter: Reporter) -> Callable[[str], None]:
    return lambda text: reporter.emit(Warned(text=text))


def document(rules: SyncRules) -> dict[str, Any]:
    """The rules as JSON's own types, schema packrunner.sync-rules/1."""
    return {
        "version": rules.version,
        "workspace": rules.workspace,
        "rules": [msgspec.to_builtins(rule) for rule in rules.rules],
        "buildpacks": dict(rules.buildpacks),
    }


def page(rules: SyncRules, terminal: Terminal, redact: Callable[[str], str]) -> list[str]:
    """The rules as a table, in the order in which they are tried."""
    if not rules.rules:
        return ["no rules: every change needs a new image"]
    count = units.number(len(rules.rules), "rule")
    lines = [f"{count} for files of {visible(redact(rules.workspace))}; the first that matches counts", ""]
    for rule in rules.rules:
        lines += _row(rule, terminal, redact)
    if not any("**" in rule.src for rule in rules.rules):
        lines.append(f"  {_word('rebuild', terminal)} anything else")
    return lines


def _row(rule: Rule, terminal: Terminal, redact: Callable[[str], str]) -> Iterator[str]:
    patterns = _wrapped(visible(redact(", ".join(rule.src))), PATTERNS)
    if rule.exec:
        patterns += _wrapped(visible(redact(f"then run {shlex.join(rule.exec)}")), PATTERNS)
    if rule.dest:
        patterns += _wrapped(visible(redact(f"to {rule.dest}")), PATTERNS)
    who = rule.buildpack.rpartition("/")[2]
    about = visible(redact(": ".join(filter(None, (who, rule.why)))))
    reasons = _wrapped(about, max(20, terminal.width - ACTION - PATTERNS - 3))
    words = [_word(rule.action, terminal)]
    for word, pattern, reason in zip_longest(words, patterns, reasons, fillvalue=""):
        yield f"  {word or ' ' * (ACTION - 2)} {pattern:<{PATTERNS}}  {reason}".rstrip()


def _word(action: str, terminal: Terminal) -> str:
    return terminal.paint(action.ljust(ACTION - 2), "bold")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
