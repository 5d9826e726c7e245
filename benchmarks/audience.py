"""Members by the million, written straight into ``audience_members``.

What the triggers would have made of devstack's people, in the same order of
insertion, so that the index is as full as theirs; in a tenth of the time.
"""

import asyncpg

from devstack.seed import NEWEST_AT, PEOPLE, PEOPLE_PER_STATEMENT, TABLE

COLUMNS = """
        lower(btrim(email) COLLATE pg_unicode_fast) COLLATE "C" AS email,
        CASE WHEN number % 100 < 60 THEN met_at END AS follower_since,
        CASE
            WHEN number % 100 >= 40 THEN met_at + INTERVAL '23 days 5 hours'
        END AS customer_since,
        CASE
            WHEN number % 100 IN (12, 55, 91) THEN met_at + INTERVAL '90 days'
        END AS affiliate_since
"""
"""What the triggers would make of one of ``people``."""

MEMBERS = f"""
    INSERT INTO audience_members (
        seller_id, email, follower_since, customer_since, affiliate_since
    )
    SELECT seller_id, {COLUMNS}
    FROM people
    CROSS JOIN generate_series($1::bigint, $2::bigint) AS seller_id
    ORDER BY 1, 2
"""


async def load(database_url: str, seller_id: int, members: int) -> None:
    """Give one seller ``members`` members."""
    connection = await _open(database_url)
    try:
        for start in range(1, members + 1, PEOPLE_PER_STATEMENT):
            end = min(start + PEOPLE_PER_STATEMENT - 1, members)
            await _add(connection, (start, end), (seller_id, seller_id))
        await connection.execute("VACUUM (ANALYZE) audience_members")
    finally:
        await connection.close()


async def load_small(database_url: str, sellers: range, members: int) -> None:
    """Give each of ``sellers`` the same ``members`` members."""
    connection = await _open(database_url)
    try:
        await _add(connection, (1, members), (sellers[0], sellers[-1]))
        await connection.execute("VACUUM (ANALYZE) audience_members")
    finally:
        await connection.close()


async def _open(database_url: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(database_url, timeout=60, command_timeout=None)
    await connection.execute(TABLE)
    return connection


async def _add(
    connection: "asyncpg.Connection[asyncpg.Record]",
    people: tuple[int, int],
    sellers: tuple[int, int],
) -> None:
    await connection.execute("TRUNCATE people")
    await connection.execute(PEOPLE, NEWEST_AT, *people)
    await connection.execute(MEMBERS, *sellers)
