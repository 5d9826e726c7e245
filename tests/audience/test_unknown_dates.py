"""Dates outside the years 1 to 9999 are unknown, and never in the way of known ones."""

import pytest

from app.audience.drift import rebuild, verify
from app.database.connections import Connection
from app.database.database import DatabaseConnection
from tests.audience.storefront import CUT, CUT_LATER, DAY, LATER, Storefront
from tests.oracle import UNKNOWN, Members

UNKNOWN_DATES = (
    "infinity",
    "-infinity",
    "0001-12-31 23:59:59.999999+00 BC",
    "4713-01-01 00:00:00+00 BC",
    "10000-01-01 00:00:00+00",
    "294276-12-31 00:00:00+00",
)

KNOWN_DATES = (
    "0001-01-01 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
    "1850-05-01 12:00:00.5+00",
)


@pytest.fixture(params=["origin", "replica"])
async def writer(request: pytest.FixtureRequest, storefront: Storefront) -> Storefront:
    """A storefront that writes itself, and one whose writes are replicated."""
    await storefront.connection.execute(f"SET session_replication_role = {request.param}")
    return storefront


async def follow(storefront: Storefront, date: str) -> int:
    """Insert a follower with a date that Python need not have."""
    inserted: int = await storefront.connection.fetchval(
        """
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        VALUES (1, 'ann@x.co', $1::text::timestamptz, now())
        RETURNING id
        """,
        date,
    )
    return inserted


async def date_of_ann(connection: Connection) -> str | None:
    """Return her date as a text."""
    await connection.execute("SET timezone = 'UTC'")
    date: str | None = await connection.fetchval(
        "SELECT follower_since::text FROM audience_members WHERE email = 'ann@x.co'"
    )
    assert not await verify(DatabaseConnection(connection))
    return date


@pytest.mark.parametrize("date", UNKNOWN_DATES)
async def test_an_unknown_date_gives_way_to_a_known_one_and_stands_in_for_none(
    writer: Storefront, date: str
) -> None:
    first = await follow(writer, date)
    assert await date_of_ann(writer.connection) == "infinity"
    known = await writer.follow("ann@x.co", created_at=LATER)
    assert await date_of_ann(writer.connection) == f"{CUT_LATER:%Y-%m-%d %H:%M:%S}+00"
    await writer.change("followers", first, confirmed_at=LATER)
    await writer.change("followers", known, created_at=DAY)
    assert await date_of_ann(writer.connection) == f"{CUT:%Y-%m-%d %H:%M:%S}+00"
    await writer.delete("followers", known)
    assert await date_of_ann(writer.connection) == "infinity"
    await writer.delete("followers", first)
    assert await writer.members() == {}


@pytest.mark.parametrize("date", KNOWN_DATES)
async def test_the_first_and_last_years_are_known(writer: Storefront, date: str) -> None:
    await follow(writer, "infinity")
    await follow(writer, date)
    assert await date_of_ann(writer.connection) == f"{date[:19]}+00"


async def test_a_rebuild_writes_an_unknown_date_as_triggers_do(storefront: Storefront) -> None:
    for number, date in enumerate((*UNKNOWN_DATES, *KNOWN_DATES)):
        row_id = await follow(storefront, date)
        await storefront.change("followers", row_id, email=f"{number}@x.co")
    written = await storefront.members()
    await storefront.connection.execute("DELETE FROM audience_members WHERE email < '5'")
    await storefront.connection.execute("UPDATE audience_members SET follower_since = now()")
    assert await rebuild(DatabaseConnection(storefront.connection))
    assert await storefront.members() == written
    assert not await verify(DatabaseConnection(storefront.connection))


async def test_one_statement_with_known_and_unknown_dates_keeps_the_known(
    storefront: Storefront,
) -> None:
    await storefront.connection.execute("""
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        VALUES
            (1, 'ann@x.co', '-infinity', now()),
            (1, 'ann@x.co', '2026-03-01 10:20:30.9Z', now()),
            (1, 'ann@x.co', 'infinity', now()),
            (1, 'bob@x.co', '-infinity', now())
    """)
    expected: Members = {(1, "ann@x.co"): {"follower": CUT}, (1, "bob@x.co"): {"follower": UNKNOWN}}
    assert await storefront.members() == expected
