"""The body of `packrunner prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.console import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.services import Pruned
    from packrunner.cli.session import Session


def perform(session: Session, *, everything: bool, dry_run: bool, yes: bool) -> int:
    """Look, ask where needed, remove, and say what went."""
    prune = session.services.prune
    found = prune(everything=everything, dry_run=True)
    if not dry_run and any(f.size for f in found):
        flag = " --all" if everything else ""
        question = f"Remove {_sentence(found)}?"
        if not yes and not session.confirm(question, command=f"packrunner prune{flag} --yes"):
            session.say("Nothing was removed.")
            return 0
        found = prune(everything=everything, dry_run=False)
    if session.json:
        items = [{"what": f.what, "size": f.size} for f in found]
        session.document("prune/1", {"removed": not dry_run, "size": sum(f.size for f in found), "items": items})
    elif not any(f.size for f in found):
        session.result("Nothing to remove.")
    else:
        session.result(f"{'Would remove' if dry_run else 'Removed'} {_sentence(found)}.")
    return 0


def _sentence(found: Sequence[Pruned]) -> str:
    parts = [f"{f.what} ({units.size(f.size)})" for f in found if f.size]
    return f"{', '.join(parts)}: {units.size(sum(f.size for f in found))} in all" if len(parts) > 1 else parts[0]
