"""Events in crowds and in any order: the state is that of the highest version."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.audience.drift import verify
from app.database.connections import create_engine
from app.database.database import Database
from app.feeds.columns import read_tables
from app.feeds.events import EventsApplied, apply_events, prune_tombstones
from app.feeds.ndjson import parse_events
from tests.audience.storefront import Storefront

DAY = "2026-03-01T10:20:30Z"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database on the test's own database."""
    database = Database(create_engine(database_url, pool_size=6))
    yield database
    await database.close()


def event(key: int, version: int, email: str | None) -> dict[str, Any]:
    """Return an event; without an address, a delete."""
    head = {"source": "follower", "key": str(key), "version": version, "seller_id": 1}
    row = {"email": email, "created_at": DAY, "confirmed_at": DAY}
    return head | ({"deleted": True} if email is None else {"row": row})


async def apply(database: Database, *events: dict[str, Any]) -> EventsApplied:
    body = "\n".join(json.dumps(each) for each in events).encode()
    return await apply_events(database, parse_events(body, await read_tables(database)))


def history(dice: random.Random, keys: int, length: int) -> list[dict[str, Any]]:
    """Return events with independent versions; addresses are shared by several keys."""
    emails = [None, *(f"fan{number}@x.co" for number in range(keys // 2))]
    return [event(dice.randrange(keys), version, dice.choice(emails)) for version in range(length)]


def newest(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return the address of each key whose newest event is no delete."""
    last = {each["key"]: each for each in sorted(events, key=lambda each: int(each["version"]))}
    return {key: each["row"]["email"] for key, each in last.items() if "row" in each}


async def addresses(storefront: Storefront) -> dict[str, str]:
    """Return the address of each key that has a row."""
    found = await storefront.connection.fetch("""
        SELECT key, email
        FROM source_keys
        LEFT JOIN followers ON followers.id::text = row_id
        WHERE row_id IS NOT NULL
    """)
    return {row["key"]: row["email"] for row in found}


@pytest.mark.parametrize("seed", range(4))
async def test_in_any_order_and_any_batches_the_newest_wins(
    database: Database, storefront: Storefront, seed: int
) -> None:
    dice = random.Random(seed)
    events = history(dice, keys=8, length=60)
    dice.shuffle(events)
    events += dice.sample(events, 10)
    versions: dict[str, int] = {}
    while events:
        batch = [events.pop() for _ in range(min(len(events), dice.randint(1, 12)))]
        counted = 0
        for each in batch:
            if each["version"] > versions.get(each["key"], -1):
                versions[each["key"]] = each["version"]
                counted += 1
        assert await apply(database, *batch) == EventsApplied(counted, len(batch) - counted)
    assert await addresses(storefront) == newest(history(random.Random(seed), 8, 60))
    rows = await storefront.rows("followers")
    assert len(rows) == len(await addresses(storefront))
    assert not await verify(storefront.database)


async def test_crowds_that_write_the_same_keys_all_succeed(
    database: Database, storefront: Storefront
) -> None:
    events = history(random.Random(7), keys=12, length=400)
    shuffled = random.Random(8).sample(events, len(events))
    batches = [shuffled[start : start + 20] for start in range(0, 400, 20)]
    await asyncio.gather(*(apply(database, *batch) for batch in batches))
    assert await addresses(storefront) == newest(events)
    assert not await verify(storefront.database)


async def test_tombstones_are_forgotten_after_90_days(
    database: Database, storefront: Storefront
) -> None:
    await apply(database, event(1, 5, None), event(2, 5, None), event(3, 5, "ann@x.co"))
    await storefront.connection.execute("""
        UPDATE source_keys SET deleted_at = deleted_at - interval '90 days 1 second'
        WHERE key = '1'
    """)
    await prune_tombstones(database)
    keys = {row["key"] for row in await storefront.rows("source_keys")}
    assert keys == {"2", "3"}
