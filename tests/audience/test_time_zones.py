"""Time zones: names, and where a day begins."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audience.time_zones import TimeZones
from app.database.database import Database, open_database

ZONES = (
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)
"""Their days begin twice, or late, or not at all, now and then; and quarters of an hour."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database."""
    async with open_database(database_url, pool_size=1) as database:
        yield database


@pytest.fixture
def zones(database: Database) -> TimeZones:
    """The server's time zones."""
    return TimeZones(database)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Etc/GMT+3", "Etc/GMT+3"),
        *((name, None) for name in ("", "CEST", "+01:00", "Berlin", "UTC-3", "Mars/Phobos")),
        *((name, None) for name in ("posix/UTC", "Factory", "localtime", "x\x00", "\ud800")),
    ],
)
async def test_a_name_is_one_of_the_servers(zones: TimeZones, name: str, found: str | None) -> None:
    assert await zones.find(name) == found


@pytest.mark.parametrize(
    ("day", "timezone", "moment"),
    [
        ("2024-01-01", "UTC", "2024-01-01T00:00Z"),
        ("2024-07-01", "Europe/Berlin", "2024-06-30T22:00Z"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00Z"),
        ("2024-11-03", "America/Havana", "2024-11-03T04:00Z"),
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30Z"),
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30Z"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00Z"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00Z"),
        ("1880-05-01", "Europe/Berlin", "1880-04-30T23:06:32Z"),
        ("0001-01-01", "Asia/Tokyo", "0001-01-01T00:00Z"),
        ("9999-12-31", "Asia/Tokyo", "9999-12-31T00:00Z"),
    ],
)
async def test_a_day_begins_where_its_date_is_first_shown(
    zones: TimeZones, day: str, timezone: str, moment: str
) -> None:
    found = await zones.first_moment(date.fromisoformat(day), timezone)
    assert found == datetime.fromisoformat(moment)


def first_second(day: date, timezone: str) -> datetime:
    """Return the first instant whose date in a zone is ``day`` or later, by trying them all."""
    zone = ZoneInfo(timezone)
    moment = datetime.combine(day, time(), UTC) - timedelta(hours=17)
    for step in (timedelta(minutes=1), timedelta(seconds=1)):
        while moment.astimezone(zone).date() < day:
            moment += step
        moment -= step
    return moment + timedelta(seconds=1)


@settings(max_examples=60)
@given(day=st.dates(date(1970, 1, 3), date(2037, 12, 30)), timezone=st.sampled_from(ZONES))
async def test_the_first_moment_is_that_of_a_patient_clock(
    zones: TimeZones, day: date, timezone: str
) -> None:
    assert await zones.first_moment(day, timezone) == first_second(day, timezone)
