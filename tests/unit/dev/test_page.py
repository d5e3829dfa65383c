"""The script in a page, wherever the page is cut."""

from __future__ import annotations

import pytest

from packrunner.dev.page import Injector, apology

TAG = b'<script src="/__packrunner/reload.js"></script>'


def passed(*pieces: bytes) -> bytes:
    injector = Injector()
    return b"".join([*(injector.feed(piece) for piece in pieces), injector.end()])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"<!doctype html><html><head><title>x", b"<!doctype html><html><head>" + TAG + b"<title>x"),
        (b'<HEAD lang="a">x', b'<HEAD lang="a">' + TAG + b"x"),
        (b"<header>x</header>", b"<header>x</header>" + TAG),
        (b"", TAG),
    ],
)
def test_the_script_is_at_the_start_of_the_head_else_at_the_end(text: bytes, wanted: bytes) -> None:
    assert passed(text) == wanted
    assert passed(*[text[at : at + 1] for at in range(len(text))]) == wanted, "cut into single bytes"


def test_only_the_beginning_of_a_page_is_held_back() -> None:
    injector = Injector()
    assert injector.feed(b"x" * 20_000) == b"x" * 20_000
    assert injector.feed(b"<head>") == b"<head>"
    assert injector.end() == b""


def test_an_apology_shows_what_was_said_as_text() -> None:
    page = apology("web ended", "<b>NameError</b>")
    assert b"&lt;b&gt;NameError" in page
    assert TAG in page
