"""Spread the audience over the nodes of Citus, by seller.

The four audience tables are distributed, so that a seller's rows of each are on one node.
Everything else stays on the coordinator. Verified with Citus 14 on PostgreSQL 18.
"""

from dataclasses import dataclass

from app.audience import triggers
from app.audience.sources import SOURCES
from app.audience.trigger_tables import SHARD_TABLES
from app.database.database import DatabaseConnection, Queryable

HAS_CITUS = "EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"

MEMBERS = "audience_members"

TABLES = (MEMBERS, *(source.table for source in SOURCES))
"""The members come first: the rows that are copied to the shards of a source fire its triggers."""

DISTRIBUTED = """
    SELECT relname::text AS name
    FROM pg_dist_partition
    JOIN pg_class ON pg_class.oid = logicalrelid
    WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:tables::name[])
"""

# For the sessions that later create triggers on these tables, as migrations do.
ALLOW_TRIGGERS = """
    DO $$
    BEGIN
        EXECUTE format(
            'ALTER DATABASE %I SET citus.enable_unsafe_triggers = on', current_database()
        );
    END
    $$
"""

# Sequential: the copy to one table's shards fires triggers that write those of another.
IN_THIS_TRANSACTION = """
    SET LOCAL citus.enable_unsafe_triggers = on;
    SET LOCAL citus.multi_shard_modify_mode = 'sequential'
"""

DISTRIBUTE = """
    SELECT create_distributed_table(
        CAST(:name AS text)::regclass, 'seller_id', colocate_with => :other
    )
"""

DISTRIBUTE_FUNCTION = """
    SELECT create_distributed_function(
        'public.audience_member_is_empty(public.audience_members)'
    )
"""

DROP_LOCAL_ROWS = """
    SELECT truncate_local_data_after_distributing_table(CAST(:name AS text)::regclass)
"""

COUNT = """
    SELECT count(DISTINCT shardid) AS shards, count(DISTINCT (nodename, nodeport)) AS nodes
    FROM pg_dist_shard
    JOIN pg_dist_shard_placement USING (shardid)
    WHERE logicalrelid = 'public.audience_members'::regclass
"""


@dataclass(frozen=True)
class Distribution:
    """Where the audience tables are.

    Attributes:
        added: The tables that this call distributed, in order.
        shards: The shards of each table.
        nodes: The nodes that have them.
    """

    added: tuple[str, ...]
    shards: int
    nodes: int


async def has_citus(database: Queryable) -> bool:
    """Return whether the database has Citus's extension."""
    ((has,),) = await database.fetch(f"SELECT {HAS_CITUS}")
    return bool(has)


async def distributed_tables(database: Queryable) -> frozenset[str]:
    """Return the names of those audience tables that are distributed."""
    if not await has_citus(database):
        return frozenset()
    return frozenset(row["name"] for row in await database.fetch(DISTRIBUTED, tables=list(TABLES)))


async def distribute(connection: DatabaseConnection) -> Distribution:
    """Distribute the audience tables that are not yet, and let their triggers name shards.

    One transaction: it locks the tables until their rows are on the nodes. A second call
    replaces the triggers' functions, as after a migration, and distributes the table of a
    new source. ``connection`` must be outside a transaction and allow long statements.
    """
    async with connection.transaction() as tx:
        present = await distributed_tables(tx)
        added = tuple(table for table in TABLES if table not in present)
        await tx.execute(ALLOW_TRIGGERS)
        # asyncpg's own execute(): two statements in one text cannot be prepared, as ours does.
        await tx.connection.execute(IN_THIS_TRANSACTION)
        # First: the rows that are copied to the shards below fire these functions.
        for source in SOURCES:
            for function in triggers.functions(source, SHARD_TABLES):
                await tx.execute(function)
        for table in added:
            await _distribute(tx, table)
        (counted,) = await tx.fetch(COUNT)
    for table in added:
        await connection.fetch(DROP_LOCAL_ROWS, name=f"public.{table}")
    return Distribution(added, counted["shards"], counted["nodes"])


async def _distribute(tx: DatabaseConnection, table: str) -> None:
    # Co-located: a trigger finds the members' shard by the hash range that it shares with its own.
    other = "none" if table == MEMBERS else MEMBERS
    await tx.fetch(DISTRIBUTE, name=f"public.{table}", other=other)
    if table == MEMBERS:
        await tx.fetch(DISTRIBUTE_FUNCTION)
