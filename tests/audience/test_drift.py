"""Drift is found by kind, and repaired while others write."""

import asyncio
from datetime import timedelta

import pytest

from app.audience.drift import Drift, rebuild, verify
from app.database.connections import Connection, connect
from app.database.database import DatabaseConnection
from tests.audience.storefront import CUT, DAY, LATER, SELLER, Storefront
from tests.polling import until

NONE = Drift(missing=0, surplus=0, wrong_dates={"follower": 0, "customer": 0, "affiliate": 0})


@pytest.fixture
async def drifted(storefront: Storefront, connection: Connection) -> Storefront:
    """A storefront with one member right, one missing, two surplus, one of two wrong dates."""
    for email in ("right@x.co", "missing@x.co", "dates@x.co"):
        await storefront.follow(email)
    await storefront.buy("dates@x.co")
    await connection.execute(
        """
        DELETE FROM audience_members WHERE email = 'missing@x.co';
        UPDATE audience_members
        SET follower_since = now(), customer_since = NULL, affiliate_since = now()
        WHERE email = 'dates@x.co';
        INSERT INTO audience_members (seller_id, email, follower_since)
        VALUES (1, 'surplus@x.co', now()), (2, 'empty@x.co', NULL);
        """
    )
    return storefront


FOUND = Drift(missing=1, surplus=2, wrong_dates={"follower": 1, "customer": 1, "affiliate": 1})


async def test_a_true_projection_has_no_drift(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    assert not await verify(storefront.database)
    assert await verify(storefront.database) == NONE


async def test_drift_is_counted_by_kind(drifted: Storefront) -> None:
    drift = await verify(drifted.database)
    assert drift
    assert drift == FOUND
    assert drift.counts == {
        "missing member": 1,
        "surplus member": 2,
        "wrong follower date": 1,
        "wrong customer date": 1,
        "wrong affiliate date": 1,
    }


async def test_drift_of_one_seller_is_counted_apart(drifted: Storefront) -> None:
    assert (await verify(drifted.database, seller_id=2)).surplus == 1
    assert (await verify(drifted.database, seller_id=SELLER)).surplus == 1
    assert await verify(drifted.database, seller_id=3) == NONE


async def test_a_rebuild_says_what_was_wrong_and_repairs_it(drifted: Storefront) -> None:
    assert await rebuild(drifted.database) == FOUND
    assert await verify(drifted.database) == NONE
    assert await drifted.members() == {
        (SELLER, "dates@x.co"): {"follower": CUT, "customer": CUT},
        (SELLER, "missing@x.co"): {"follower": CUT},
        (SELLER, "right@x.co"): {"follower": CUT},
    }


async def test_a_rebuild_of_one_seller_leaves_the_others(drifted: Storefront) -> None:
    await rebuild(drifted.database, seller_id=2)
    left = await verify(drifted.database)
    assert left == Drift(missing=1, surplus=1, wrong_dates=FOUND.wrong_dates)


async def test_a_rebuild_of_what_is_right_writes_no_member(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    before = await storefront.connection.fetchval("SELECT xmin::text FROM audience_members")
    assert await rebuild(storefront.database) == NONE
    after = await storefront.connection.fetchval("SELECT xmin::text FROM audience_members")
    assert after == before


async def test_a_rebuild_waits_for_a_writer_of_a_wrong_address_and_counts_its_rows(
    drifted: Storefront, database_url: str
) -> None:
    writer = await connect(database_url)
    transaction = writer.transaction()
    await transaction.start()
    await Storefront(writer).follow("dates@x.co", created_at=DAY - timedelta(days=1))
    work = asyncio.create_task(rebuild(drifted.database))

    async def waits() -> bool:
        found: bool = await writer.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        )
        return found

    await until(waits)
    await transaction.commit()
    await work
    assert (await drifted.members())[SELLER, "dates@x.co"]["follower"] == CUT - timedelta(days=1)
    assert await verify(drifted.database) == NONE
    await writer.close()


async def test_writers_of_other_addresses_do_not_wait_for_a_rebuild(
    drifted: Storefront, database_url: str
) -> None:
    blocker = await connect(database_url)
    transaction = blocker.transaction()
    await transaction.start()
    await Storefront(blocker).follow("dates@x.co")
    work = asyncio.create_task(rebuild(drifted.database))
    other = await connect(database_url, command_timeout=5)
    await Storefront(other).follow("right@x.co", created_at=LATER)
    assert not work.done()
    await transaction.commit()
    await work
    assert await verify(DatabaseConnection(other)) == NONE
    await other.close()
    await blocker.close()
