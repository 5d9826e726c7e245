"""Connections: whose locks last how long, and which errors pass by themselves."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from app.database.connections import connect, create_engine
from app.database.database import Database
from app.database.errors import classify_error
from app.errors import DatabaseUnavailable, ReadConflict


async def test_a_process_that_freezes_in_a_transaction_holds_its_locks_for_moments(
    database_url: str,
) -> None:
    frozen = await connect(database_url, idle_timeout_s=1)
    other = await connect(database_url)
    await frozen.execute("BEGIN; LOCK TABLE exports IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(10):
        assert await other.fetchval("SELECT count(*) FROM exports") == 0
    frozen.terminate()
    await other.close()


async def test_every_transaction_of_the_use_cases_is_limited_so(database_url: str) -> None:
    database = Database(create_engine(database_url, pool_size=1))
    async with database.engine.begin() as connection:
        shown = await connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    await database.close()
    assert shown == "5s"


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.ConnectionDoesNotExistError("lost"),
        asyncpg.CrashShutdownError("another process crashed"),
        asyncpg.DatabaseDroppedError("it was dropped"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.DiskFullError("disk"),
        asyncpg.IdleInTransactionSessionTimeoutError("idle"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation is in progress"),
        asyncpg.InternalServerError("cache lookup failed"),
        asyncpg.InvalidAuthorizationSpecificationError("pg_hba.conf"),
        asyncpg.InvalidCachedStatementError("migrated"),
        asyncpg.InvalidCatalogNameError("it is being restored"),
        asyncpg.InvalidPasswordError("it is being rotated"),
        asyncpg.LockNotAvailableError("lock timeout"),
        asyncpg.PostgresIOError("disk"),
        asyncpg.QueryCanceledError("by hand"),
        asyncpg.ReadOnlySQLTransactionError("it was demoted"),
        asyncpg.PostgresSystemError("file"),
        asyncpg.TooManyConnectionsError("full"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_by_itself_is_an_outage(error: Exception) -> None:
    assert isinstance(classify_error(error), DatabaseUnavailable)


def test_a_read_cancelled_by_a_standby_is_known_as_such() -> None:
    assert isinstance(classify_error(asyncpg.SerializationError("replay")), ReadConflict)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DataCorruptedError("it will not heal"),
        asyncpg.FeatureNotSupportedError("nor come"),
        asyncpg.InsufficientPrivilegeError("nor be granted"),
        asyncpg.UndefinedTableError("exports"),
        asyncpg.UniqueViolationError("twice"),
        ValueError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_mistakes_are_no_outage(error: Exception) -> None:
    assert classify_error(error) is None
