"""Figures as people read them."""

from datetime import date

import pytest

from app.report import words


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
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (12_345, "12 k"), (4_100_000, "4.1 M")],
)
def test_large_numbers(number: int, text: str) -> None:
    assert words.short(number) == text


def test_bytes() -> None:
    assert [words.size(number) for number in (0, 999, 52_110, 1_310_000_000)] == [
        *("0 B", "999 B"),
        *("52 kB", "1.3 GB"),
    ]


def test_shares() -> None:
    assert [words.percent(share) for share in (0, 0.004, 0.0099, 0.25, 1)] == [
        *("0 %", "0.4 %", "0.99 %"),
        *("25 %", "100 %"),
    ]


def test_spans() -> None:
    first, last = date(2026, 10, 24), date(2026, 11, 22)
    assert words.span(last, last) == "22 November 2026"
    assert words.span(first, last) == "24 October – 22 November 2026"
    assert words.span(first.replace(year=2025), last) == "24 October 2025 – 22 November 2026"


def test_a_source_that_is_no_more_keeps_its_key() -> None:
    assert words.sources(["follower", "customer"]) == "Followers + Customers"
    assert words.sources(["retired"]) == "retired"
