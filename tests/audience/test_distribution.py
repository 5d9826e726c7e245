"""The schema can be spread over servers by seller: here, over partitions."""

import random
from collections.abc import AsyncIterator
from io import BytesIO

import pytest

from app.audience.drift import verify
from app.audience.merge import Merge, merge_sql
from app.database.connections import Connection, connect
from app.database.database import DatabaseConnection
from app.models import FileOptions
from tests.audience.partitions import partitioned, printed
from tests.audience.storefront import DEFAULTS, LATER, Storefront

SELLERS = range(1, 9)
CHANGES = 300

MISPLACED = """
    SELECT pg_get_indexdef(indexrelid)
    FROM pg_index
    JOIN pg_attribute AS seller ON seller.attrelid = indrelid AND seller.attname = 'seller_id'
    JOIN pg_class AS tables ON tables.oid = indrelid
    WHERE tables.relnamespace = 'public'::regnamespace
        AND (indisunique OR indisexclusion)
        AND indkey[0] <> seller.attnum
"""

WITHOUT_SELLER = """
    SELECT relname
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'seller_id'
        )
    ORDER BY relname
"""

OF_THE_SERVICE = [
    "alembic_version",
    "export_days",
    "export_durations",
    "import_totals",
    "periodic_tasks",
    "projection_verifications",
    "queue_starts",
    "webhook_endpoints",
]
"""Statistics, callers and the schema's age: about no seller, read on no export's way."""


async def test_every_unique_index_begins_with_the_seller(database_url: str) -> None:
    connection = await connect(database_url)
    misplaced = await connection.fetch(MISPLACED)
    without = await connection.fetch(WITHOUT_SELLER)
    await connection.close()
    assert [row[0] for row in misplaced] == []
    assert [row[0] for row in without] == OF_THE_SERVICE


@pytest.fixture
async def spread(empty_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the newest schema, partitioned."""
    connection = await connect(empty_database_url)
    await connection.execute(partitioned(printed("upgrade", "head", "--sql")))
    yield connection
    await connection.close()


async def test_every_partition_of_the_members_is_vacuumed_eagerly(spread: Connection) -> None:
    tended = await spread.fetch("""
        SELECT reloptions FROM pg_partition_tree('audience_members')
        JOIN pg_class ON oid = relid
        WHERE isleaf
    """)
    assert len(tended) == 3
    assert all("autovacuum_vacuum_scale_factor=0.002" in row[0] for row in tended)


async def change(storefront: Storefront, dice: random.Random) -> None:
    """Throw one change of the source tables, of one row or of many sellers' at once."""
    table = dice.choice(sorted(DEFAULTS))
    email, seller = f"{dice.randrange(12)}@x.co", dice.choice(SELLERS)
    kind = dice.choice(["insert", "insert", "insert", "move", "touch", "delete"])
    if kind == "insert":
        await storefront.insert(table, email=email, seller_id=seller)
    elif kind == "move":
        await storefront.connection.execute(
            f"UPDATE {table} SET email = $1 WHERE id % 5 = $2", email, dice.randrange(5)
        )
    elif kind == "touch":
        await storefront.connection.execute(
            f"UPDATE {table} SET created_at = $1 WHERE email = $2", LATER, email
        )
    else:
        await storefront.connection.execute(f"DELETE FROM {table} WHERE email = $1", email)


async def files(connection: Connection) -> list[bytes]:
    """Return the rows of every seller's file."""
    written = []
    for seller in SELLERS:
        merge = Merge(
            seller, ("follower", "customer", "affiliate"), FileOptions(columns=("email", "sources"))
        )
        output = BytesIO()
        await connection.copy_from_query(merge_sql(merge), output=output, format="csv")
        written.append(output.getvalue())
    return written


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_partitions_give_the_same_files(
    spread: Connection, connection: Connection, role: str
) -> None:
    for server in (spread, connection):
        await server.execute(f"SET session_replication_role = {role}")
        dice = random.Random(8)
        for _ in range(CHANGES):
            await change(Storefront(server), dice)
        assert not await verify(DatabaseConnection(server))
    assert await spread.fetchval("SELECT count(DISTINCT tableoid) FROM audience_members") == 3
    assert await files(spread) == await files(connection)
    assert len(set(await files(spread))) > 1
