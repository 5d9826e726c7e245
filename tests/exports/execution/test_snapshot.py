"""What holds in an export's snapshot."""

from collections.abc import AsyncIterator

import pytest

from app.audience.merge import Merge, merge_sql
from app.database.connections import Connection, connect
from app.database.database import Database
from app.exports.execution.snapshot import open_snapshot

MERGE = Merge(1, ("follower",))

MEMBERS = """
    INSERT INTO audience_members (seller_id, email, follower_since)
    SELECT number % 5, number || '@x.co', now()
    FROM generate_series(1, 20000) AS number
    ORDER BY hashtext(number::text)
"""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a table that was vacuumed, and wholly rewritten and analysed since."""
    connection = await connect(database_url)
    await connection.execute("ALTER TABLE audience_members SET (autovacuum_enabled = false)")
    await connection.execute(MEMBERS)
    await connection.execute("VACUUM audience_members")
    await connection.execute("UPDATE audience_members SET customer_since = now()")
    await connection.execute("ANALYZE audience_members")
    yield connection
    await connection.close()


async def plan(connection: Connection) -> str:
    rows = await connection.fetch(f"EXPLAIN {merge_sql(MERGE)}")
    return "\n".join(row[0] for row in rows)


async def test_the_merge_keeps_to_the_index_where_the_planner_would_sort(
    connection: Connection, database: Database
) -> None:
    assert "Sort" in await plan(connection)
    async with open_snapshot(database, "export") as (inside, *_):
        within = await plan(inside.connection)
    assert "Index Only Scan using audience_members_pkey" in within
    assert "Sort" not in within
