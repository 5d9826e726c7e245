"""One snapshot of the database, for one connection or several."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.standby import Asked, await_replay
from app.database import Connection, discard, driver_connection, translated_errors
from app.statements import Kept, kept_by

SERVER = """
    concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time())
"""
"""Names a server until it is restarted. Behind a balancer two connections may lead to two."""

HAS_CITUS = "EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
"""The coordinator's snapshot says nothing about what is read on the nodes."""

KEEP_TO_THE_INDEX = "SET LOCAL enable_sort = off"
"""Whatever the statistics say: only the index has the members in order.

Where many were written since the last vacuum, the planner would rather sort
what a bitmap finds: twice as slow, and no row comes before the last is read.
"""

NOT_THERE = (
    asyncpg.InvalidParameterValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.FeatureNotSupportedError,
)
"""What PostgreSQL says of a snapshot that it does not have, or that is another database's."""


class SnapshotNotShared(Exception):
    """A connection cannot see what another one sees."""


class Snapshot(NamedTuple):
    """A connection inside a snapshot, and what it has prepared.

    ``replayed_at`` is the instant that a standby's is true for.
    """

    connection: Connection
    kept: Kept
    replayed_at: datetime | None


@dataclass(frozen=True)
class SharedSnapshot:
    """A snapshot that other connections to ``server`` may join while its owner is in it."""

    id: str
    server: str


@asynccontextmanager
async def open_snapshot(
    engine: AsyncEngine,
    session_name: str,
    *,
    asked: Asked | None = None,
    shared: SharedSnapshot | None = None,
) -> AsyncIterator[Snapshot]:
    """Open a read-only snapshot, its own or ``shared``.

    Its own is taken by the first query; with ``asked``, a standby is waited
    for first. The session carries ``session_name``, by which others find and
    end it. Left by an error, the connection is closed, which ends a running
    COPY on the server.

    Raises:
        DatabaseUnavailable, SourceBusy, ReplicaBehind: trying again may help.
        SnapshotNotShared: it led to another server than that of ``shared``.
    """
    with translated_errors():
        async with engine.connect() as pooled:
            connection = await driver_connection(pooled)
            try:
                replayed_at = await await_replay(connection, asked) if asked else None
                await _begin(connection, session_name, shared)
                yield Snapshot(connection, kept_by(pooled), replayed_at)
                await connection.execute("COMMIT")
            except BaseException:
                await discard(pooled, connection)
                raise


async def share_snapshot(connection: Connection) -> SharedSnapshot | None:
    """Let other connections join this one's snapshot; ``None`` where that would mean nothing."""
    [row] = await connection.fetch(
        f"SELECT pg_export_snapshot() AS id, {SERVER} AS server, {HAS_CITUS} AS has_citus"
    )
    return None if row["has_citus"] else SharedSnapshot(row["id"], row["server"])


async def _begin(connection: Connection, session_name: str, shared: SharedSnapshot | None) -> None:
    join = f"SET TRANSACTION SNAPSHOT '{shared.id}';" if shared else ""
    try:
        await connection.execute(f"""
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            {join}
            {KEEP_TO_THE_INDEX};
            SET LOCAL application_name = '{session_name}';
            SET LOCAL client_connection_check_interval = '1s';
            SET LOCAL idle_in_transaction_session_timeout = 0
        """)
    except NOT_THERE as error:
        raise SnapshotNotShared("The server has no such snapshot.") from error
    if shared and await connection.fetchval(f"SELECT {SERVER}") != shared.server:
        raise SnapshotNotShared("This is another server.")
