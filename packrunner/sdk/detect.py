"""For bin/detect: whether this buildpack applies, what it provides and what it requires (DET-10 - DET-19).

    from packrunner.sdk.detect import Detect, main

    def detect(context: Detect) -> None:
        if not context.has("package.json"):
            context.decline("needs package.json")
        context.provide("node")
        context.require("node", version=">=22")

    main(detect)

A call that only tests for a file is better written in the shell, which starts ten times as fast as Python.
"""

from __future__ import annotations

import os
import sys

from . import toml
from .report import Failure, say, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

DECLINED = 100
"""The exit code of a buildpack that does not apply (DET-11)."""


class _Declined(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, reason: str, tries: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tries = tries


class Detect:
    """What bin/detect knows, and the plan it writes."""

    def __init__(self) -> None:
        env = os.environ
        self.app_dir = os.getcwd()
        self.buildpack_dir = env["CNB_BUILDPACK_DIR"]
        self.platform_dir = env["CNB_PLATFORM_DIR"]
        self.exec_env = env.get("CNB_EXEC_ENV", "production")
        self._plan_path = env["CNB_BUILD_PLAN_PATH"]
        self._pairs: list[dict[str, list[toml.Value]]] = [{}]

    def has(self, name: str) -> bool:
        """Whether the application has something of this name."""
        return os.path.exists(os.path.join(self.app_dir, name))

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

    def decline(self, reason: str, *tries: str) -> NoReturn:
        """Say that this buildpack does not apply; `reason` goes on after its name: "needs one of ...".

        `tries` are what would help. Both are shown to those who ask why, or when no buildpack applies.
        """
        raise _Declined(reason, tries)

    def write_plan(self) -> None:
        """Write the plan file; nothing when there is neither a provide nor a require."""
        first, *others = self._pairs
        table: dict[str, toml.Value] = dict(first)
        if others:
            table["or"] = others
        if any(self._pairs):
            write(self._plan_path, toml.dumps(table))


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
