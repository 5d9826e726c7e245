"""Boundaries of a period: dates and instants, and nothing else."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audience.boundaries import EARLIEST, LATEST, parse_boundary


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        ("0001-01-01", date.min),
        ("9999-12-31", date.max),
        ("2024-01-31T09:30:00Z", datetime(2024, 1, 31, 9, 30, tzinfo=UTC)),
        ("2024-01-31t09:30:00z", datetime(2024, 1, 31, 9, 30, tzinfo=UTC)),
        ("2024-01-31 09:30:00-00:00", datetime(2024, 1, 31, 9, 30, tzinfo=UTC)),
        ("2024-01-31T09:30:00+05:30", datetime(2024, 1, 31, 4, tzinfo=UTC)),
        ("2024-01-31T23:30:00-01:00", datetime(2024, 2, 1, 0, 30, tzinfo=UTC)),
        ("2024-01-31T09:30:00.25Z", datetime(2024, 1, 31, 9, 30, 0, 250_000, tzinfo=UTC)),
        ("2024-01-31T09:30:00.0000000Z", datetime(2024, 1, 31, 9, 30, tzinfo=UTC)),
        ("2024-01-31T09:30:00.0000001Z", datetime(2024, 1, 31, 9, 30, 0, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", EARLIEST),
        ("9999-12-31T23:59:59-01:00", LATEST),
        ("9999-12-31T23:59:59.9999999Z", LATEST),
    ],
)
def test_a_date_and_an_instant_are_what_rfc_3339_says(text: str, meant: date | datetime) -> None:
    parsed = parse_boundary(text)
    assert parsed == meant
    assert isinstance(parsed, datetime) == isinstance(meant, datetime)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "today", "1", "1704067200", "2024", "2024-01", "20240131", "2024-1-31"),
        *("2024-02-30", "2023-02-29", "2024-00-10", "2024-13-01", "0000-01-01", "10000-01-01"),
        *("-2024-01-01", " 2024-01-31", "2024-01-31 ", "2024-01-31\n", "2024-W05-3"),
        *("2024-01-31T09:30:00", "2024-01-31T09:30Z", "2024-01-31T24:00:00Z"),
        *("2024-01-31T09:60:00Z", "2024-01-31T09:30:60Z", "2024-01-31T09:30:00+24:00"),
        *("2024-01-31T09:30:00+01:60", "2024-01-31T09:30:00 01:00", "2024-01-31T09:30:00,5Z"),
        *("2024-01-31T09:30:00.Z", "2024-01-31T09:30:00+0100", "٢٠٢٤-٠١-٣١", "2024-01-31\x00"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    assert parse_boundary(text) is None


@given(st.dates(date(1, 1, 3), date(9999, 12, 29)), st.times(), st.data())
def test_every_instant_in_every_offset_is_itself(
    day: date, clock: time, data: st.DataObject
) -> None:
    minutes = data.draw(st.integers(-1439, 1439))
    instant = datetime.combine(day, clock, timezone(timedelta(minutes=minutes)))
    assert parse_boundary(instant.isoformat()) == instant


@given(st.text(max_size=40))
def test_no_text_is_an_error(text: str) -> None:
    parse_boundary(text)
