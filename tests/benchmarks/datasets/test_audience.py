"""Members that are loaded directly are as many as asked for."""

import asyncpg

from benchmarks.datasets.audience import load, load_small


async def members(database_url: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT seller_id, count(*), count(DISTINCT lower(btrim(email)))"
            " FROM audience_members GROUP BY 1 ORDER BY 1"
        )
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


async def test_a_seller_has_exactly_as_many_members_as_requested(database_url: str) -> None:
    await load(database_url, 7, 1234)

    assert await members(database_url) == [(7, 1234, 1234)]


async def test_each_of_many_sellers_has_as_many(database_url: str) -> None:
    await load_small(database_url, range(100, 103), 50)

    assert await members(database_url) == [(100, 50, 50), (101, 50, 50), (102, 50, 50)]
