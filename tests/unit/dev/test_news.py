"""When paths are looked at: times are given, nothing waits."""

from __future__ import annotations

import pytest

from packrunner.dev.news import LONGEST, LONGEST_WRITTEN, MANY, QUIET, QUIET_OF_MANY, RETURN, WRITTEN, News


def test_nothing_is_due_where_nothing_happened() -> None:
    assert News().due() is None


def test_a_save_is_due_after_a_quiet_moment_however_often_its_path_is_named() -> None:
    news = News()
    news.add("a", 1.0)
    news.add("a", 1.0 + QUIET / 2)
    assert news.due() == 1.0 + QUIET
    assert news.take(1.0 + QUIET) == ({"a": False}, 1.0)
    assert news.due() is None


def test_new_paths_are_waited_for_but_not_for_ever() -> None:
    news = News()
    news.add("a", 1.0)
    news.add("b", 1.005)
    assert news.due() == 1.005 + QUIET
    for number in range(2000):
        news.add(str(number), 1.0 + number / 100)
    assert news.due() == 1.0 + LONGEST


@pytest.mark.fault("LIV-10")
def test_fifty_thousand_paths_are_one_batch() -> None:
    news = News()
    now = 1.0
    for number in range(50_000):
        now += QUIET_OF_MANY / 2000
        due = news.due()
        assert due is None or due > now
        news.add(str(number), now)
        if number > MANY:
            assert news.due() == min(now + QUIET_OF_MANY, 1.0 + LONGEST)
    assert len(news.take(now + 1)[0]) == 50_000


def test_deep_stays_deep() -> None:
    news = News()
    news.add("a", 1.0, deep=True)
    news.add("a", 1.0)
    assert news.take(2.0)[0] == {"a": True}


def test_a_file_is_waited_for_while_it_is_written_to() -> None:
    news = News()
    news.writing("a", 1.0)
    news.writing("a", 1.2)
    assert news.due() == 1.2 + WRITTEN
    assert news.take(1.3)[0] == {}
    news.add("a", 1.3)
    assert news.due() == 1.3 + QUIET
    assert news.take(1.4) == ({"a": False}, 1.3)


def test_a_file_that_is_written_to_for_ever_is_taken_now_and_then() -> None:
    news = News()
    for tenth in range(100):
        news.writing("log", 1.0 + tenth / 10)
    assert news.due() == 1.0 + LONGEST_WRITTEN
    assert news.take(1.0 + LONGEST_WRITTEN)[0] == {"log": False}


@pytest.mark.fault("LIV-01")
def test_what_is_gone_may_come_back_and_is_then_no_more_waited_for() -> None:
    news = News()
    news.gone("a", 1.0)
    assert news.due() == 1.0 + RETURN
    news.writing("a", 1.01)
    assert news.due() == 1.01 + WRITTEN
    news.add("a", 1.02)
    assert news.due() == pytest.approx(1.02 + QUIET)
