"""The body of `packrunner plan`: ask, then show the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.cli import building

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.session import Session
    from packrunner.lifecycle.given import Flags


def perform(flags: Flags, argv: Sequence[str], session: Session, *, json: bool) -> int:
    """Show what a build with the arguments `argv`, which mean these flags, would do."""
    from packrunner.record import Record

    session.json = json
    request = building.resolve(flags, session)
    reporter = building.reporter(request, session, progress="json" if json else request.progress)
    session.reporter = reporter
    building.tell(request, reporter)
    found = session.services.plan(request, reporter, Record(flags.cwd, argv))
    from packrunner.cli import plan_page

    if json:
        session.document("plan/1", plan_page.document(found, session.redact))
    else:
        session.result("\n".join(plan_page.page(found, session.out, session.redact)))
    return 0
