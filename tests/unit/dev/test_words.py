"""How `packrunner dev` says things, and where the application listens."""

from __future__ import annotations

import socket

import pytest

from packrunner.dev import ports, wording
from packrunner.dev.tracebacks import Lines
from packrunner.errors import EngineError
from packrunner.formats.sync import Rule, SyncRules


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["app/views.py"], "app/views.py"),
        (["a.py", "b.py"], "a.py, b.py"),
        (["app/t/a", "app/t/b", "app/t/c/d"], "app/t/ (3 files)"),
        (["a", "b", "c"], "3 files"),
    ],
)
def test_subjects(paths: list[str], text: str) -> None:
    assert wording.subject(paths) == text


def test_rules_are_a_line() -> None:
    rules = SyncRules(
        rules=(
            Rule(src=("**/*.pyc",), action="ignore", buildpack="python"),
            Rule(src=("**/*.py",), action="sync", buildpack="python"),
            Rule(src=("templates/**",), action="sync", buildpack="python"),
            Rule(src=("uv.lock",), action="rebuild", buildpack="python"),
        ),
        buildpacks={"python": "1.4.0"},
    )
    assert wording.rules_line(rules) == "4 from python 1.4.0: *.py sync, templates sync, uv.lock rebuild"


def test_no_rules_are_said() -> None:
    assert wording.rules_line(None) == "none: no buildpack states any, each change is a rebuild"


def test_a_line_of_rules_ends_where_it_is_full() -> None:
    rules = SyncRules(rules=tuple(Rule(src=(f"directory-{i}/**",), action="sync") for i in range(9)))
    assert wording.rules_line(rules).endswith(", ...")
    assert len(wording.rules_line(rules)) < 95
    assert len(wording.rules_table(rules)) == 10
    assert wording.rules_table(SyncRules(rules=(Rule(src=("**",), action="restart"),))) == ["restart   **"]


def lines(*text: str) -> tuple[list[str], Lines]:
    found = Lines("/workspace")
    return [shown for line in text for shown in found.feed(line)], found


def test_lines_pass() -> None:
    assert lines("a", "  b", "")[0] == ["a", "  b", ""]


def test_of_several_tracebacks_the_last_counts() -> None:
    first = ["Traceback (most recent call last):", '  File "/workspace/a.py", line 1, in x', "KeyError: 1"]
    between = ["", "During handling of the above exception, another exception occurred:", ""]
    last = ["Traceback (most recent call last):", '  File "/workspace/b.py", line 2, in y', "ValueError: 2"]
    shown, found = lines(*first, *between, *last)
    assert shown == [*first, *between]
    assert found.crashed() == ('  File "b.py", line 2, in y', "ValueError: 2")
    assert found.crashed() == ()


def test_a_syntax_error_is_shown_with_its_place() -> None:
    _, found = lines(
        "Traceback (most recent call last):",
        '  File "/usr/lib/python3/runpy.py", line 198, in run',
        "    return x()",
        '  File "/workspace/app.py", line 3',
        "    x = = 1",
        "        ^",
        "SyntaxError: invalid syntax",
    )
    assert found.crashed() == ('  File "app.py", line 3', "    x = = 1", "SyntaxError: invalid syntax")


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.free(port) > port


def test_a_port_that_was_given_away_is_passed_over() -> None:
    port = ports.free(20_000)
    assert ports.free(port, frozenset({port})) > port


def test_ports_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda port: False)
    with pytest.raises(EngineError) as caught:
        ports.free(65_530)
    assert caught.value.slug == "port-taken"
