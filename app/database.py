"""PostgreSQL: engines for the use cases, raw connections for COPY."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import DatabaseUnavailable, SourceBusy, TemporaryError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0

TRUSTED_S = 5.0
"""A pooled connection that answered so recently is not asked whether it lives."""

PING_TIMEOUT_S = 5.0

IDLE_TIMEOUT_S = 5
"""A process that froze in the middle of a transaction holds its locks no longer.

Behind PgBouncer, where this reaches some server connections only, set
``idle_in_transaction_session_timeout`` for the service's role as well.
"""

SERVER_SETTINGS = {
    "application_name": "audience-export",
    "timezone": "UTC",
    "datestyle": "ISO",
    "client_encoding": "UTF8",
}
"""Session settings of every connection: only those that PgBouncer tracks."""

UNREACHABLE = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg lost count, as when a server dies while it connects
)

TEMPORARY_STATES = ("08", "53", "57P", "40", "55P03", "25P03", "25006")
"""SQLSTATE prefixes that pass by themselves: connection lost, out of
resources, shutting down, serialization failure or deadlock, lock timeout,
idle in transaction, read-only (a primary that was demoted)."""


async def connect(url: str, *, idle_timeout_s: int | None = None, **options: Any) -> Connection:
    """Open one asyncpg connection to a libpq address, read as psql reads it.

    Statements are not cached by name, so that a transaction-pooling PgBouncer
    may stand in between. The server ends the session when a transaction is
    left alone for ``idle_timeout_s``.

    Raises:
        DatabaseUnavailable: the server cannot be reached in time.
    """
    options.setdefault("command_timeout", COMMAND_TIMEOUT_S)
    options.setdefault("statement_cache_size", 0)
    try:
        connection: Connection = await asyncpg.connect(
            url, timeout=CONNECT_TIMEOUT_S, server_settings=SERVER_SETTINGS, **options
        )
        if idle_timeout_s is not None:
            await _limit_idling(connection, idle_timeout_s)
    except UNREACHABLE as error:
        raise DatabaseUnavailable("The database cannot be reached.") from error
    except asyncpg.PostgresError as error:
        raise (temporary_error(error) or error) from error
    return connection


async def _limit_idling(connection: Connection, timeout_s: int) -> None:
    """Set by statement: PgBouncer refuses start-up parameters that it does not know."""
    try:
        await connection.execute(f"SET idle_in_transaction_session_timeout = '{timeout_s}s'")
    except BaseException:
        connection.terminate()
        raise


def create_engine(url: str, pool_size: int) -> AsyncEngine:
    """Return an engine whose connections are made by :func:`connect`.

    Twice ``pool_size`` at most, opened as they are needed and kept: under
    steady load, those above a smaller number would be opened anew for request
    after request. Nothing is connected yet: the service starts while
    PostgreSQL is down.
    """

    async def creator(**_: object) -> Connection:
        return await connect(url, idle_timeout_s=IDLE_TIMEOUT_S)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        connect_args={
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        },
        hide_parameters=True,
        pool_size=2 * pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "checkout", _replace_dead)
    event.listen(engine.sync_engine, "checkin", _note_use)
    return engine


def _replace_dead(adapted: Any, record: Any, _: object) -> None:
    """Keep a dead connection from being used, and ask only those that were idle for long.

    A server that went down closes its connections, which asyncpg sees without
    asking. SQLAlchemy's own ping costs a transaction at each use.

    Raises:
        InvalidatePoolError: the pool replaces its connections and goes on.
    """
    if adapted.driver_connection.is_closed():
        raise InvalidatePoolError
    if time.monotonic() - record.info.get("used_at", time.monotonic()) < TRUSTED_S:
        return
    try:
        adapted.run_async(_ping)
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        raise InvalidatePoolError from error


def _note_use(_: object, record: Any) -> None:
    if record is not None:
        record.info["used_at"] = time.monotonic()


async def _ping(connection: Connection) -> None:
    await connection.execute("SELECT", timeout=PING_TIMEOUT_S)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open one transaction; it commits at the end of the ``async with``.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    with translated_errors():
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def bare_transaction(engine: AsyncEngine) -> AsyncIterator[Connection]:
    """Open one transaction on asyncpg's own connection, which knows COPY.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    async with pooled_transaction(engine) as (connection, _):
        yield connection


@asynccontextmanager
async def pooled_transaction(
    engine: AsyncEngine,
) -> AsyncIterator[tuple[Connection, AsyncConnection]]:
    """Open the same and yield SQLAlchemy's connection around it too.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    with translated_errors():
        async with engine.connect() as pooled:
            connection = await driver_connection(pooled)
            try:
                async with connection.transaction():
                    yield connection, pooled
            finally:
                if connection.is_in_transaction():
                    await discard(pooled, connection)


async def driver_connection(pooled: AsyncConnection) -> Connection:
    """Return asyncpg's own connection behind SQLAlchemy's."""
    connection: Connection = (await pooled.get_raw_connection()).driver_connection
    return connection


async def discard(pooled: AsyncConnection, connection: Connection) -> None:
    """Close a connection that may be in the middle of something; the pool will open another."""
    connection.terminate()
    await asyncio.shield(pooled.invalidate())


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise what :func:`temporary_error` makes of the database's errors, and others as they are.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    try:
        yield
    except (SQLAlchemyError, asyncpg.PostgresError, *UNREACHABLE) as error:
        known = temporary_error(error)
        if known is None:
            raise
        raise known from error


def temporary_error(error: BaseException) -> TemporaryError | None:
    """Return what ``error`` means if it is the database's and will pass, else ``None``.

    Takes errors of asyncpg and SQLAlchemy's wrappers of them.
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return DatabaseUnavailable("The database cannot be reached.")
        error = (error.orig and error.orig.__cause__) or error.orig or error
    state = getattr(error, "sqlstate", None) or ""
    if state == asyncpg.SerializationError.sqlstate:
        return SourceBusy("The database gave way to other work.")
    if isinstance(error, UNREACHABLE) or state.startswith(TEMPORARY_STATES):
        return DatabaseUnavailable("The database cannot be reached.")
    return None
