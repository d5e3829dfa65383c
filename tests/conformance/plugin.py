"""A pytest plugin (`-p tests.conformance.plugin --conformance FILE`): only marked tests, their outcomes as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_OPTION = "--conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_OPTION, metavar="FILE", required=True, help="where to write the outcomes of tests marked `cnb`")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Recorder(config.getoption(_OPTION)))


class _Recorder:
    def __init__(self, path: str) -> None:
        self.path = path
        self.ids: dict[str, list[str]] = {}
        self.outcomes: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item], config: pytest.Config) -> None:
        for item in items:
            ids = [one for mark in item.iter_markers("cnb") for one in mark.args]
            if ids:
                self.ids[item.nodeid] = ids
        left = [item for item in items if item.nodeid not in self.ids]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item.nodeid in self.ids]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before, _ = self.outcomes.get(report.nodeid, ("", ""))
        if before == "failed" or (report.passed and report.when != "call"):
            return
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        self.outcomes[report.nodeid] = (report.outcome, str(why).removeprefix("Skipped: "))

    def pytest_sessionfinish(self) -> None:
        lines = [
            {"test": test, "ids": ids, "outcome": self.outcomes[test][0], "reason": self.outcomes[test][1]}
            for test, ids in self.ids.items()
            if test in self.outcomes
        ]
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(lines, file)
