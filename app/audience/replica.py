"""Read from a streaming replica, once it has replayed what the reader must see."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import asyncpg

from app.database.database import Database, DatabaseConnection
from app.errors import ReadConflict, ReplicaLagging

T = TypeVar("T")

POLL_S = 0.02

REPLAYED = """
    SELECT
        pg_is_in_recovery() AS is_standby,
        pg_last_xact_replay_timestamp() AS replayed_at,
        pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') >= CAST(:lsn AS bigint) AS has_it
"""


@dataclass(frozen=True)
class ReplayTarget:
    """What a replica must have replayed before a reader uses it.

    ``at`` is the time of the request on the primary. ``lsn`` is a position in
    the primary's WAL, in bytes; ``None`` if unknown. The reader waits for it
    for at most ``wait_s`` seconds.
    """

    at: datetime
    lsn: int | None
    wait_s: float


async def wait_for_replay(connection: DatabaseConnection, target: ReplayTarget) -> datetime | None:
    """Wait until a new snapshot shows everything that the primary showed at the request.

    Returns the instant of such a snapshot: the time of the last replayed commit
    or of the request, whichever is later. ``None`` if no wait is needed,
    because the server is not a replica.

    Polls, since PostgreSQL 18 has no WAIT FOR LSN. Each poll is a separate
    transaction: within one, PgBouncer would stay on one server connection.

    Raises:
        ReplicaLagging: the replica did not reach ``lsn`` in time; try again.
    """
    deadline = time.monotonic() + target.wait_s
    while True:
        look = await _look(connection, target.lsn)
        if not look["is_standby"]:
            return None
        # None where no position is required: there is nothing to wait for.
        if look["has_it"] is not False:
            # replayed_at is null until a standby that was restarted has replayed a commit.
            return max(target.at, look["replayed_at"] or target.at)
        if time.monotonic() >= deadline:
            raise ReplicaLagging("The replica is behind the primary.")
        await asyncio.sleep(POLL_S)


async def _look(connection: DatabaseConnection, lsn: int | None) -> asyncpg.Record:
    async with connection.transaction():
        (look,) = await connection.fetch(REPLAYED, lsn=lsn)
    return look


async def read_from_replica_or_primary(
    audience_database: Database,
    database: Database,
    read: Callable[[Database], Awaitable[T]],
) -> T:
    """Run a short read on the exports' database; on the primary if replay cancels it there.

    A replica's result may be as old as its lag. Only a replica cancels a
    read with 40001, so ``database`` then has the same data.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
    """
    try:
        return await read(audience_database)
    except ReadConflict:
        return await read(database)
