"""Snapshots: a read-only transaction whose view other connections can join."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from app.audience.distribution import HAS_CITUS
from app.audience.replica import ReplayTarget, wait_for_replay
from app.database.database import Database, DatabaseConnection

SERVER = """
    concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time())
"""
"""Names a server until it is restarted. Behind a balancer two connections may lead to two."""

DISABLE_SORT = "SET LOCAL enable_sort = off"
"""Independent of the statistics: only the index has the members in order.

Where many were written since the last vacuum, the planner would rather sort
what a bitmap finds: twice as slow, and no row comes before the last is read.
"""

NO_PARALLEL_QUERY = "SET LOCAL max_parallel_workers_per_gather = 0"
"""``EXPORT_STREAMS`` says how many processes read a list: the planner must not add its own."""

NO_LIMITS = """
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SET LOCAL transaction_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0
"""
"""Override the limits of the role: an attempt has its own limit, and ends with its client."""

UNSUPPORTED_ERRORS = (
    asyncpg.InvalidParameterValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.FeatureNotSupportedError,
)
"""What PostgreSQL says of a snapshot that it does not have, or that is another database's."""


class SnapshotNotShared(Exception):
    """A connection cannot see what another one sees."""


class Snapshot(NamedTuple):
    """A transaction in a snapshot.

    ``replayed_at`` is the instant that a standby's is true for.
    """

    tx: DatabaseConnection
    replayed_at: datetime | None


@dataclass(frozen=True)
class SharedSnapshot:
    """A snapshot that other connections to ``server`` may join while its owner is in it."""

    id: str
    server: str


@asynccontextmanager
async def open_snapshot(
    database: Database,
    session_name: str,
    *,
    replay_target: ReplayTarget | None = None,
    shared: SharedSnapshot | None = None,
) -> AsyncIterator[Snapshot]:
    """Open a read-only transaction with a snapshot, a new one or ``shared``.

    Parameters:
        session_name: The session's ``application_name``, by which other processes find and
            end it.
        replay_target: What a standby must have replayed before the snapshot is taken.
        shared: The snapshot to join; ``None`` takes a new one with the first query.

    After an error the connection is closed, which ends a running COPY on the server.

    Raises:
        DatabaseUnavailable, ReadConflict, ReplicaLagging: trying again may help.
        SnapshotNotShared: the connection leads to another server than that of ``shared``.
    """
    async with database.connection() as tx:
        try:
            # Before BEGIN: in the transaction, the first look would take the snapshot too early.
            replayed_at = await wait_for_replay(tx, replay_target) if replay_target else None
            await _begin(tx, session_name, shared)
            yield Snapshot(tx, replayed_at)
            # BEGIN and COMMIT are sent by hand: together with the settings they take one round
            # trip, and an error must close the session instead of rolling back, to end its COPY.
            await tx.connection.execute("COMMIT")
        except BaseException:
            await tx.discard()
            raise


async def export_snapshot(tx: DatabaseConnection) -> SharedSnapshot | None:
    """Let other connections join this one's snapshot; ``None`` on a Citus coordinator.

    There, the snapshot covers the coordinator only, and the members are on other servers.
    """
    [row] = await tx.fetch(
        f"SELECT pg_export_snapshot() AS id, {SERVER} AS server, {HAS_CITUS} AS has_citus"
    )
    return None if row["has_citus"] else SharedSnapshot(row["id"], row["server"])


async def _begin(tx: DatabaseConnection, session_name: str, shared: SharedSnapshot | None) -> None:
    join = f"SET TRANSACTION SNAPSHOT '{shared.id}';" if shared else ""
    try:
        # The snapshot is joined first: PostgreSQL refuses that after a query. LOCAL: the session
        # returns to the pool, and must lose this name, by which cleanup ends sessions, and get its
        # limits back. The check interval ends a COPY whose client is gone while it sends no row.
        await tx.connection.execute(f"""
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            {join}
            {DISABLE_SORT};
            {NO_PARALLEL_QUERY};
            SET LOCAL application_name = '{session_name}';
            SET LOCAL client_connection_check_interval = '1s';
            {NO_LIMITS}
        """)
    except UNSUPPORTED_ERRORS as error:
        raise SnapshotNotShared("The server has no such snapshot.") from error
    # Behind a proxy each connection may lead to another server, where the id can exist as well.
    if shared and await tx.connection.fetchval(f"SELECT {SERVER}") != shared.server:
        raise SnapshotNotShared("This is another server.")
