"""Callers at the same time share one count, and one that took long is kept for some seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from app.audience.period import Period
from app.audience.shared_counts import CACHE_S, SharedCounts
from app.database.connections import create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable
from tests.audience.storefront import Storefront


class CountedDatabase(Database):
    """Counts its queries, each of which takes as many seconds of the test's clock as it says."""

    seconds = 0.0
    takes_s = 0.0
    queries = 0
    is_down = False

    def clock(self) -> float:
        """Return the test's time."""
        return self.seconds

    async def fetch(self, sql: str, /, **values: Any) -> list[asyncpg.Record]:
        self.queries += 1
        self.seconds += self.takes_s
        if self.is_down:
            raise DatabaseUnavailable
        return await super().fetch(sql, **values)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[CountedDatabase]:
    """The test's database."""
    database = CountedDatabase(create_engine(database_url, pool_size=1))
    yield database
    await database.close()


@pytest.fixture
def counts(database: CountedDatabase) -> SharedCounts:
    """The counts of an API process, by the test's clock."""
    return SharedCounts(database, database, database.clock)


async def test_fifty_callers_at_once_make_one_query(
    counts: SharedCounts, database: CountedDatabase, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    found = await asyncio.gather(*(counts.count(1) for _ in range(50)))
    assert {each.total for each in found} == {1}
    assert database.queries == 1


async def test_other_sellers_and_periods_are_counted_by_themselves(
    counts: SharedCounts, database: CountedDatabase, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    never = Period(before=datetime(1970, 1, 1, tzinfo=UTC))
    found = await asyncio.gather(counts.count(1), counts.count(2), counts.count(1, never))
    assert [each.total for each in found] == [1, 0, 0]
    assert database.queries == 3


async def test_a_quick_count_is_of_now(
    counts: SharedCounts, database: CountedDatabase, storefront: Storefront
) -> None:
    for number in range(3):
        assert (await counts.count(1)).total == number
        await storefront.follow(f"{number}@x.co")


async def test_a_slow_count_is_kept_for_some_seconds(
    counts: SharedCounts, database: CountedDatabase, storefront: Storefront
) -> None:
    database.takes_s = 1.5
    assert (await counts.count(1)).total == 0
    await storefront.follow("ann@x.co")
    database.seconds += CACHE_S - 0.01
    assert (await counts.count(1)).total == 0
    assert database.queries == 1
    database.seconds += 0.02
    assert (await counts.count(1)).total == 1


async def test_a_caller_that_leaves_takes_nothing_from_the_others(counts: SharedCounts) -> None:
    callers = [asyncio.create_task(counts.count(1)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    with suppress(asyncio.CancelledError):
        await callers[0]
    assert [(await each).total for each in callers[1:]] == [0, 0]


async def test_an_error_is_everyones_and_is_not_kept(
    counts: SharedCounts, database: CountedDatabase
) -> None:
    database.is_down = True
    found = await asyncio.gather(*(counts.count(1) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, DatabaseUnavailable) for each in found)
    database.is_down = False
    assert (await counts.count(1)).total == 0
