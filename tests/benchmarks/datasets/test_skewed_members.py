"""A large table in small: its sellers, what is written to it, how the merge reads it."""

import asyncio

import asyncpg
import pytest

from app.audience.merge import Merge, merge_sql
from app.audience.sources import SOURCES
from benchmarks.datasets.background_writer import write
from benchmarks.datasets.skewed_members import (
    FIRST_SELLER,
    HUNDRED,
    MEASURED_ROWS,
    PURCHASES,
    load_crowd,
    measured_sellers,
    sizes,
)
from benchmarks.harness.query_plans import explain, read_of

MEMBERS = 20_000


@pytest.fixture
async def crowd(database_url: str) -> str:
    """The address of a database with a crowd in it."""
    await load_crowd(database_url, MEMBERS)
    return database_url


def test_fifty_million_members_are_of_a_hundred_thousand_sellers() -> None:
    assert (sum(HUNDRED), len(HUNDRED)) == (50_000, 100)


def test_sellers_have_exactly_as_many_members_together_as_requested() -> None:
    assert list(sizes(13_500)) == [10_000, 2_000, 1_500]


def test_every_hundredth_seller_is_measured() -> None:
    assert measured_sellers(2 * sum(HUNDRED)) == [FIRST_SELLER, FIRST_SELLER + 100]


async def test_a_crowd_is_written_to_and_read_by_the_index_alone(crowd: str) -> None:
    connection = await asyncpg.connect(crowd)
    merge = Merge(FIRST_SELLER, tuple(source.key for source in SOURCES))
    try:
        await connection.execute("SET enable_seqscan = off")
        await connection.execute("SET enable_bitmapscan = off")
        at_rest = read_of(await connection.fetchval(explain(merge_sql(merge))))
        await connection.execute(PURCHASES, 100, 0, MEASURED_ROWS)
        bought = await connection.fetchval("SELECT count(*) FROM purchases")
        after = read_of(await connection.fetchval(explain(merge_sql(merge))))
    finally:
        await connection.close()

    assert (at_rest.index_only, at_rest.rows, at_rest.heap_fetches) == (True, MEASURED_ROWS, 0)
    assert 30 < bought < 90
    assert (after.index_only, after.rows) == (True, MEASURED_ROWS)
    assert after.heap_fetches >= bought / 2


async def test_the_writer_adds_purchases_and_no_members(crowd: str) -> None:
    writer = asyncio.create_task(write(crowd, MEMBERS))
    connection = await asyncpg.connect(crowd)
    try:
        async with asyncio.timeout(30):
            while await connection.fetchval("SELECT count(*) FROM purchases") < 20:
                assert not writer.done()
                await asyncio.sleep(0.05)
        assert await connection.fetchval("SELECT count(*) FROM audience_members") == MEMBERS
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await connection.close()
