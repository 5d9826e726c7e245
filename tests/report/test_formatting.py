"""Figures as people read them."""

from datetime import date

import pytest

from app.report import formatting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.001, "1 ms"),
        (0.0995, "100 ms"),
        (0.34, "0.34 s"),
        (1.0, "1 s"),
        (1.26, "1.3 s"),
        (12.4, "12 s"),
        (252, "4.2 min"),
        (3600, "1 h"),
        (14_400, "4 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (12_345, "12 k"), (4_100_000, "4.1 M")],
)
def test_large_numbers(number: int, text: str) -> None:
    assert formatting.abbreviate(number) == text


def test_figures_are_whole_below_a_million() -> None:
    assert [formatting.figure(number) for number in (0, 999_999, 23_456_789)] == [
        *("0", "999,999", "23 M"),
    ]


def test_bytes() -> None:
    assert [formatting.size(number) for number in (0, 999, 52_110, 1_310_000_000)] == [
        *("0 B", "999 B"),
        *("52 kB", "1.3 GB"),
    ]


def test_shares() -> None:
    assert [formatting.percent(share) for share in (0, 0.004, 0.0099, 0.25, 1)] == [
        *("0 %", "0.4 %", "0.99 %"),
        *("25 %", "100 %"),
    ]


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (112, 100, "+12 %"),
        (88, 100, "−12 %"),
        (100, 100, "±0 %"),
        (100.001, 100, "±0 %"),
        (0, 100, "−100 %"),
        (1500, 100, "+1,400 %"),
        (5, 0, "–"),
        (None, 5, "–"),
        (5, None, "–"),
    ],
)
def test_relative_changes(now: float | None, before: float | None, text: str) -> None:
    assert formatting.change(now, before) == text


def test_changes_of_shares() -> None:
    assert formatting.points(0.0545, 0.05) == "+0.45 pp"
    assert formatting.points(0, 0.05) == "−5 pp"
    assert formatting.points(0, 0) == "±0 pp"


def test_spans() -> None:
    first, last = date(2026, 10, 24), date(2026, 11, 22)
    assert formatting.span(last, last) == "22 November 2026"
    assert formatting.span(first, last) == "24 October – 22 November 2026"
    assert formatting.span(first.replace(year=2025), last) == "24 October 2025 – 22 November 2026"


def test_a_source_that_is_no_more_keeps_its_key() -> None:
    assert formatting.sources(["follower", "customer"]) == "Followers + Customers"
    assert formatting.sources(["retired"]) == "retired"
