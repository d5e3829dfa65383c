"""For bin/detect: whether this buildpack applies, what it provides and what it requires (DET-10 - DET-19).

    from packrunner.sdk.detect import Detect, main

    def detect(context: Detect) -> None:
        if not context.has("package.json"):
            context.decline("needs package.json")
        context.provide("node")
        context.require("node", version=">=22")

    main(detect)

What becomes of changed files while the application runs is one more call, for the images in which it may:

        context.live_reload(rule("restart", "**/*.js"), rule("rebuild", "package.json", why="packages are installed"))

A call that only tests for a file is better written in the shell, which starts ten times as fast as Python.
"""

from __future__ import annotations

import os
import sys

from . import toml
from .context import Context
from .report import Failure, say, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, NoReturn

DECLINED = 100
"""The exit code of a buildpack that does not apply (DET-11)."""


class _Declined(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, reason: str, tries: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tries = tries


def rule(
    action: Literal["sync", "reload", "restart", "rebuild", "ignore"],
    *src: str,
    exec: Sequence[str] = (),  # noqa: A002 - the key's name in the format
    dest: str = "",
    why: str = "",
) -> dict[str, toml.Value]:
    """A sync rule for `Detect.live_reload`: what is done with a changed file that one of the patterns matches."""
    made: dict[str, toml.Value] = {"src": list(src), "action": action}
    if exec:
        made["exec"] = list(exec)
    return made | {key: text for key, text in (("dest", dest), ("why", why)) if text}


class Detect(Context):
    """What bin/detect knows, and the plan it writes."""

    def __init__(self) -> None:
        super().__init__()
        self._plan_path = os.environ["CNB_BUILD_PLAN_PATH"]
        self._pairs: list[dict[str, list[toml.Value]]] = [{}]
        self._rules: list[dict[str, toml.Value]] = []

    def provide(self, name: str) -> None:
        """Provide `name` in the current alternative of the plan."""
        self._pairs[-1].setdefault("provides", []).append({"name": name})

    def require(self, name: str, **metadata: toml.Value) -> None:
        """Require `name`, with metadata for its provider."""
        require: dict[str, toml.Value] = {"name": name}
        if metadata:
            require["metadata"] = metadata
        self._pairs[-1].setdefault("requires", []).append(require)

    def alternative(self) -> None:
        """Begin a further pair of provides and requires, tried after the ones before it (DET-18)."""
        self._pairs.append({})

    def live_reload(self, *rules: dict[str, toml.Value]) -> None:
        """State what becomes of changed files, first rule first; nothing but in images for development.

        Each pair of the plan is offered with the rules first, and then without them, for groups in which nobody takes
        any. Raises ValueError for a rule that cannot be meant as it is written.
        """
        if not self.development:
            return
        from .sync import BadRule, check

        for number, one in enumerate(rules, start=len(self._rules) + 1):
            try:
                self._rules.append(check(one))
            except BadRule as wrong:
                raise ValueError(f"sync rule {number}: {wrong}") from wrong

    def decline(self, reason: str, *tries: str) -> NoReturn:
        """Say that this buildpack does not apply; `reason` goes on after its name: "needs one of ...".

        `tries` are what would help. Both are shown to those who ask why, or when no buildpack applies.
        """
        raise _Declined(reason, tries)

    def write_plan(self) -> None:
        """Write the plan file; nothing when there is neither a provide nor a require."""
        pairs = self._pairs_with_rules() if self._rules else self._pairs
        first, *others = pairs
        table: dict[str, toml.Value] = dict(first)
        if others:
            table["or"] = others
        if any(pairs):
            write(self._plan_path, toml.dumps(table))

    def _pairs_with_rules(self) -> list[dict[str, list[toml.Value]]]:
        from .sync import PLAN_ENTRY

        metadata: toml.Table = {"buildpack": self.about("id"), "version": self.about("version"), "rules": self._rules}
        entry: toml.Table = {"name": PLAN_ENTRY, "metadata": metadata}
        return [one for pair in self._pairs for one in ({**pair, "requires": [*pair.get("requires", []), entry]}, pair)]


def main(detect: Callable[[Detect], None]) -> NoReturn:
    """Run bin/detect: exit 0 with a plan, 100 with a reason as the last line, 1 for a Failure."""
    context = Detect()
    try:
        detect(context)
    except _Declined as declined:
        say("\n".join([*(f"try: {text}" for text in declined.tries), declined.reason]))
        sys.exit(DECLINED)
    except Failure as failure:
        say(failure.lines())
        sys.exit(1)
    context.write_plan()
    sys.exit(0)
