from __future__ import annotations

import pytest

from packrunner.console.redact import Lines, Redactor, is_secret, visible


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("PIP_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("DB_PASSWORD", True),
        ("API_KEY", True),
        ("GH_PAT", True),
        ("PATH", False),
        ("PWD", False),
        ("DB_PWD", True),
        ("KEYBOARD", False),
        ("COMPAT", False),
    ],
)
def test_names_that_say_secret(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_known_values_and_passwords_in_addresses_are_hidden() -> None:
    redact = Redactor.of({"PIP_TOKEN": "hunter2hunter2", "HOME": "/home/ana"})
    assert redact("using hunter2hunter2 in /home/ana") == "using (hidden) in /home/ana"
    assert redact("get https://ana:pw@example.com/x") == "get https://(hidden)@example.com/x"
    assert redact.knowing(["s3cret"])("s3cret hunter2hunter2") == "(hidden) (hidden)"


def test_what_is_learnt_later_is_hidden_too() -> None:
    redact = Redactor(["abcd"])
    redact.learn(["efghij", "x"])
    assert redact("x abcd efghij") == "x (hidden) (hidden)"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Redactor(["abcd", "abcdefgh"])("abcdefgh") == "(hidden)"


def test_short_values_hide_nothing() -> None:
    assert Redactor(["1", "on"])("1 image on disk") == "1 image on disk"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r50%\r100%", "100%"),
        ("done\r", "done"),
        ("bell\x07 null\x00 csi\x9b2J", "bell null csi2J"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_foreign_lines_cannot_steer_the_terminal(raw: str, shown: str) -> None:
    assert visible(raw) == shown


def test_lines_are_put_together_per_stream() -> None:
    lines = Lines()
    assert lines.feed("python", "stdout", b"one\ntw") == ["one"]
    assert lines.feed("python", "stderr", b"err\n") == ["err"]
    assert lines.feed("python", "stdout", "o ü".encode()[:3]) == []
    assert list(lines.finish()) == [("python", "two \ufffd")]
    assert list(lines.finish()) == []


def test_a_line_that_never_ends_is_cut() -> None:
    lines = Lines()
    assert [len(line) for line in lines.feed("x", "stdout", b"a" * 70_000)] == [70_000]
    assert list(lines.finish()) == []
