"""Hundreds of thousands of sellers in one table, their members interleaved."""

import asyncio
import itertools
from collections.abc import Iterator

import asyncpg

from app.database.database import DatabaseConnection, open_connection
from benchmarks.datasets.audience import COLUMNS
from devstack.seed import NEWEST_AT, PEOPLE, TABLE

MEASURED_ROWS = 10_000
HUNDRED = (MEASURED_ROWS, *[2_000] * 9, *[1_000] * 10, *[150] * 80)
"""Members of each of a hundred sellers: 500 on average, most have fewer."""

FIRST_SELLER = 10_000_000
SELLERS_AT_ONCE = 1_000
LOADERS = 2

CROWD = f"CREATE TABLE crowd AS SELECT number, {COLUMNS} FROM people"
CROWD_KEY = "CREATE UNIQUE INDEX crowd_key ON crowd (number)"
SELLERS = "CREATE TABLE crowd_sellers (seller_id bigint, first bigint PRIMARY KEY, members bigint)"
"""``first`` is the position of the seller's first member; positions start at 0."""

MEMBERS = """
    INSERT INTO audience_members (
        seller_id, email, follower_since, customer_since, affiliate_since
    )
    SELECT seller_id, email, follower_since, customer_since, affiliate_since
    FROM crowd_sellers
    CROSS JOIN LATERAL (SELECT * FROM crowd WHERE number <= members) AS member
    WHERE seller_id BETWEEN $1 AND $2
    ORDER BY number, seller_id
"""
"""Ordered by person, so that a seller's rows are spread over the pages of a thousand sellers."""

PURCHASES = """
    INSERT INTO purchases (seller_id, email, created_at, state)
    SELECT seller_id, email, customer_since - place % 1000 * INTERVAL '1 minute', 'successful'
    FROM (
        SELECT $2::bigint + floor(random() * ($3::bigint - $2::bigint))::bigint AS place
        FROM generate_series(1, $1::bigint)
    ) AS drawn
    CROSS JOIN LATERAL (
        SELECT seller_id, first
        FROM crowd_sellers
        WHERE first <= place
        ORDER BY first DESC
        LIMIT 1
    ) AS seller
    JOIN crowd ON number = place - first + 1
    WHERE customer_since IS NOT NULL
"""
"""Purchases by members at random positions in [$2, $3): six in ten of $1 have bought."""


def sizes(members: int) -> Iterator[int]:
    """Yield the number of members of each seller, in total exactly ``members``."""
    left = members
    for size in itertools.cycle(HUNDRED):
        if left <= 0:
            return
        yield min(size, left)
        left -= size


def sellers_of(members: int) -> list[tuple[int, int, int]]:
    """Return the id, first position and size of each seller."""
    counted = list(sizes(members))
    firsts = itertools.accumulate(counted, initial=0)
    return [
        (FIRST_SELLER + index, first, size)
        for index, (first, size) in enumerate(zip(firsts, counted, strict=False))
    ]


def measured_sellers(members: int) -> list[int]:
    """Return the sellers with exactly 10,000 members."""
    return [seller for seller, _, size in sellers_of(members) if size == MEASURED_ROWS]


async def load_crowd(database_url: str, members: int) -> None:
    """Fill an empty table with ``members`` members, then vacuum and analyse it.

    The tables ``crowd`` and ``crowd_sellers`` remain: :data:`PURCHASES` reads them.
    """
    sellers = sellers_of(members)
    async with open_connection(database_url, command_timeout_s=None) as connection:
        await _prepare(connection, sellers)
        first, last = sellers[0][0], sellers[-1][0]
        batches = iter(range(first, last + 1, SELLERS_AT_ONCE))
        await asyncio.gather(*(_insert(database_url, batches) for _ in range(LOADERS)))
        await connection.execute("VACUUM (ANALYZE) audience_members")
        await connection.execute("ALTER TABLE audience_members RESET (autovacuum_enabled)")


async def _prepare(connection: DatabaseConnection, sellers: list[tuple[int, int, int]]) -> None:
    await connection.execute("ALTER TABLE audience_members SET (autovacuum_enabled = false)")
    await connection.execute(TABLE)
    await connection.execute(PEOPLE, newest_at=NEWEST_AT, first=1, last=MEASURED_ROWS)
    for statement in (CROWD, CROWD_KEY, SELLERS):
        await connection.execute(statement)
    await connection.connection.copy_records_to_table("crowd_sellers", records=sellers)
    await connection.execute("VACUUM (ANALYZE) crowd, crowd_sellers")


async def _insert(database_url: str, batches: Iterator[int]) -> None:
    connection = await asyncpg.connect(database_url, timeout=60, command_timeout=None)
    try:
        await connection.execute("SET work_mem = '256MB'")
        for first in batches:
            await connection.execute(MEMBERS, first, first + SELLERS_AT_ONCE - 1)
    finally:
        await connection.close()
