"""Connections: whose locks last how long, and which errors pass by themselves."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from app.database import connect, create_engine, temporary_error, transaction
from app.errors import DatabaseUnavailable, SourceBusy


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
    engine = create_engine(database_url, pool_size=1)
    async with transaction(engine) as opened:
        shown = await opened.scalar(text("SHOW idle_in_transaction_session_timeout"))
    await engine.dispose()
    assert shown == "5s"


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.ConnectionDoesNotExistError("lost"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.IdleInTransactionSessionTimeoutError("idle"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation is in progress"),
        asyncpg.LockNotAvailableError("lock timeout"),
        asyncpg.ReadOnlySQLTransactionError("it was demoted"),
        asyncpg.TooManyConnectionsError("full"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_by_itself_is_an_outage(error: Exception) -> None:
    assert isinstance(temporary_error(error), DatabaseUnavailable)


def test_a_read_cancelled_by_a_standby_is_known_as_such() -> None:
    assert isinstance(temporary_error(asyncpg.SerializationError("replay")), SourceBusy)


@pytest.mark.parametrize(
    "error",
    [asyncpg.UndefinedTableError("exports"), asyncpg.UniqueViolationError("twice"), ValueError()],
    ids=lambda error: type(error).__name__,
)
def test_mistakes_are_no_outage(error: Exception) -> None:
    assert temporary_error(error) is None
