"""The triggers of shards, without Citus: on tables that catalogs like its own call shards."""

import re
from datetime import UTC, datetime

import asyncpg
import pytest

from app.audience import triggers
from app.audience.sources import FOLLOWER, SOURCES
from app.audience.trigger_tables import SHARD_TABLES
from app.database.connections import Connection

CATALOGS = """
    SET allow_system_table_mods = on;
    CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
    CREATE TABLE pg_catalog.pg_dist_shard
        (logicalrelid regclass, shardid bigint, shardminvalue text)
"""

# Shards of one hash range, and one of another range, which must stay empty.
SHARDS = """
    CREATE TABLE public.{table}_{number} (LIKE public.{table} INCLUDING ALL);
    INSERT INTO pg_dist_partition VALUES ('public.{table}');
    INSERT INTO pg_dist_shard VALUES ('public.{table}', {number}, '-7'), ('public.{table}', 9, '7')
"""

FOLLOW = "INSERT INTO followers_101 (seller_id, email, created_at, confirmed_at) VALUES "
EARLY, LATE = (f"'2026-01-0{day} 10:00:00Z', '2026-01-01'" for day in (1, 2))
DAY = datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.fixture
async def shards(connection: Connection) -> Connection:
    """A connection to a database where each audience table has a shard, numbered from 100."""
    await connection.execute(CATALOGS)
    for number, table in enumerate(("audience_members", *(each.table for each in SOURCES)), 100):
        await connection.execute(SHARDS.format(table=table, number=number))
    for number, source in enumerate(SOURCES, 101):
        for statement in triggers.functions(source, SHARD_TABLES) + triggers.triggers(source):
            on_shard = re.sub(rf"ON public\.{source.table}\b", rf"\g<0>_{number}", statement)
            on_shard = re.sub(rf"TABLE public\.{source.table}\b", rf"\g<0>_{number}", on_shard)
            await connection.execute(on_shard)
    return connection


async def members(connection: Connection) -> dict[tuple[int, str], datetime]:
    """Return the members of the shard and since when they follow; the table itself is empty."""
    assert await connection.fetchval("SELECT count(*) FROM audience_members") == 0
    rows = await connection.fetch("SELECT * FROM audience_members_100")
    return {(row["seller_id"], row["email"]): row["follower_since"] for row in rows}


async def test_each_write_of_a_shard_reaches_the_members_beside_it(shards: Connection) -> None:
    await shards.execute(f"{FOLLOW} (1, 'a@x.co', {LATE}), (1, 'A@x.co', {EARLY})")
    assert await members(shards) == {(1, "a@x.co"): DAY}
    await shards.execute("UPDATE followers_101 SET email = 'b@x.co' WHERE email = 'A@x.co'")
    assert await members(shards) == {(1, "a@x.co"): DAY.replace(day=2), (1, "b@x.co"): DAY}
    await shards.execute("DELETE FROM followers_101 WHERE email = 'a@x.co'")
    assert await members(shards) == {(1, "b@x.co"): DAY}
    await shards.execute("TRUNCATE followers_101")
    assert await members(shards) == {}


async def test_a_member_of_two_sources_stays_for_the_other(shards: Connection) -> None:
    await shards.execute(f"{FOLLOW} (1, 'a@x.co', {EARLY})")
    await shards.execute(
        "INSERT INTO affiliates_103 (seller_id, email, created_at)"
        " VALUES (1, 'a@x.co', '2026-01-01')"
    )
    await shards.execute("DELETE FROM followers_101")
    assert await members(shards) == {(1, "a@x.co"): None}


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_stricter_isolation_works_too(shards: Connection, isolation: str) -> None:
    async with shards.transaction(isolation=isolation):
        await shards.execute(f"{FOLLOW} (1, 'a@x.co', {EARLY}), (1, 'b@x.co', {EARLY})")
        await shards.execute("DELETE FROM followers_101 WHERE email = 'a@x.co'")
    assert await members(shards) == {(1, "b@x.co"): DAY}


async def test_a_row_that_arrives_with_a_moving_shard_changes_no_member(
    shards: Connection,
) -> None:
    await shards.execute("SET session_replication_role = replica")
    await shards.execute(f"{FOLLOW} (1, 'a@x.co', {EARLY})")
    assert await members(shards) == {}


async def test_a_row_written_past_citus_is_refused(shards: Connection) -> None:
    await shards.execute("SET session_replication_role = replica")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="followers, which is distributed"):
        await shards.execute(f"{FOLLOW.replace('_101', '')} (1, 'a@x.co', {EARLY})")


async def test_a_truncated_distributed_table_leaves_the_work_to_its_shards(
    shards: Connection,
) -> None:
    await shards.execute(f"{FOLLOW} (1, 'a@x.co', {EARLY})")
    await shards.execute("TRUNCATE followers")
    assert await members(shards) == {(1, "a@x.co"): DAY}


async def test_a_table_that_is_no_shard_is_not_written(connection: Connection) -> None:
    await connection.execute(CATALOGS)
    for statement in triggers.functions(FOLLOWER, SHARD_TABLES):
        await connection.execute(statement)
    with pytest.raises(asyncpg.RaiseError, match="followers is no shard of a distributed table"):
        await connection.execute(f"{FOLLOW.replace('_101', '')} (1, 'a@x.co', {EARLY})")
