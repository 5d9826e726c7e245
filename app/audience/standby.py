"""Reading from a streaming replica: not before it has what the reader must see."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from app.errors import ReplicaBehind, SourceBusy

T = TypeVar("T")

POLL_S = 0.02

REPLAYED = """
    SELECT
        pg_is_in_recovery() AS is_standby,
        pg_last_xact_replay_timestamp() AS replayed_at,
        pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') >= $1::bigint AS has_it
"""


@dataclass(frozen=True)
class Asked:
    """When a reader asked, by the primary's clock and by its log.

    ``lsn`` is a position in the primary's write-ahead log, in bytes; ``None``
    where it is not known. A standby that replays it later than ``wait_s``
    from now is not waited for.
    """

    at: datetime
    lsn: int | None
    wait_s: float


async def await_replay(connection: Connection, asked: Asked) -> datetime | None:
    """Wait until a snapshot taken next shows all that the primary showed when it was asked.

    Returns the instant that such a snapshot is true for: the last commit
    replayed, or the asking, whichever is later. ``None`` where nobody need
    wait, because the server is no standby.

    Polls, since PostgreSQL 18 has no WAIT FOR LSN. Each look is a transaction
    of its own: inside one transaction PgBouncer keeps to one server connection.

    Raises:
        ReplicaBehind: it has not come so far in time; try again.
    """
    deadline = time.monotonic() + asked.wait_s
    while True:
        look = await _look(connection, asked.lsn)
        if not look["is_standby"]:
            return None
        if look["has_it"] is not False:
            return max(asked.at, look["replayed_at"] or asked.at)
        if time.monotonic() >= deadline:
            raise ReplicaBehind("The replica is behind the primary.")
        await asyncio.sleep(POLL_S)


async def _look(connection: Connection, lsn: int | None) -> asyncpg.Record:
    async with connection.transaction():
        look = await connection.fetchrow(REPLAYED, lsn)
    assert look is not None  # noqa: S101 - a SELECT without FROM has one row
    return look


async def read_audience(
    audience_engine: AsyncEngine,
    engine: AsyncEngine,
    read: Callable[[AsyncEngine], Awaitable[T]],
) -> T:
    """Read something short where exports read, or from the primary while replay is in the way.

    What a replica says may be as old as its lag. Only a standby cancels a
    read with 40001, so ``engine`` is then known to hold the same data.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
    """
    try:
        return await read(audience_engine)
    except SourceBusy:
        return await read(engine)
