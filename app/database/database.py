"""The database: statements on their own, transactions, and connections of the pool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database.connections import (
    COMMAND_TIMEOUT_S,
    Connection,
    connect,
    create_engine,
    local_limits,
)
from app.database.errors import is_dead_end, translated_errors
from app.database.statements import compile_statement

if TYPE_CHECKING:
    from asyncpg.prepared_stmt import PreparedStatement

    Prepared: TypeAlias = PreparedStatement[asyncpg.Record]

Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


class Queryable(Protocol):
    """What executes a statement: a :class:`Database` or a :class:`DatabaseConnection`.

    ``sql`` names its parameters ``:name``; ``values`` has a value for each.
    """

    async def fetch(self, sql: str, /, **values: Any) -> list[asyncpg.Record]:
        """Execute a statement and return its rows."""
        ...

    async def fetchrow(self, sql: str, /, **values: Any) -> asyncpg.Record | None:
        """Execute a statement and return its first row; ``None`` without one."""
        ...

    async def execute(self, sql: str, /, **values: Any) -> int:
        """Execute a statement and return how many rows it read or changed."""
        ...


class DatabaseConnection:
    """One connection, for statements that belong together.

    Its methods raise asyncpg's errors; the context manager of :class:`Database`
    that yields it translates them.

    Attributes:
        connection: asyncpg's own connection, for COPY and for COMMIT inside a transaction.
    """

    def __init__(self, connection: Connection, pooled: AsyncConnection | None = None) -> None:
        """Wrap a connection; ``pooled`` is SQLAlchemy's around it, ``None`` outside a pool."""
        self.connection = connection
        self._pooled = pooled
        self._prepared: dict[str, Prepared] = (
            # In the pool's record, which lasts for many uses and which SQLAlchemy clears when it
            # replaces the session.
            {} if pooled is None else pooled.info.setdefault("prepared", {})
        )

    async def fetch(self, sql: str, /, **values: Any) -> list[asyncpg.Record]:
        """Execute a statement and return its rows."""
        statement = compile_statement(sql)
        prepared = self._prepared.get(statement.sql) or await self._prepare(statement.sql)
        rows: list[asyncpg.Record] = await prepared.fetch(
            *(values[name] for name in statement.parameters)
        )
        return rows

    async def fetchrow(self, sql: str, /, **values: Any) -> asyncpg.Record | None:
        """Execute a statement and return its first row; ``None`` without one."""
        rows = await self.fetch(sql, **values)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **values: Any) -> int:
        """Execute a statement and return how many rows it read or changed."""
        await self.fetch(sql, **values)
        return _row_count(self._prepared[compile_statement(sql).sql].get_statusmsg())

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Self]:
        """Open a transaction on this connection; it commits at the end of the ``async with``."""
        async with self.connection.transaction(isolation=isolation, readonly=readonly):
            if limits := local_limits(self.connection):
                await self.connection.execute(limits)
            yield self

    async def discard(self) -> None:
        """Close a connection that may be in the middle of something; the pool opens another."""
        self.connection.terminate()
        if self._pooled is not None:
            # Shielded: cancelled here, the pool would keep a closed connection as taken.
            await asyncio.shield(self._pooled.invalidate())

    async def _prepare(self, sql: str) -> "Prepared":
        # Unnamed: PgBouncer leads the next transaction to another server session, which has no
        # statement of that name. asyncpg sends the text with each execution, in the same round
        # trip, and keeps only the types of parameters and columns.
        prepared = self._prepared[sql] = await self.connection.prepare(sql, name="")
        return prepared


class Database:
    """A PostgreSQL server, reached through a pool of connections.

    A statement executed here commits on its own, in one round trip without BEGIN
    and COMMIT. SQLAlchemy has the pool only: executing through it takes three
    times asyncpg's processor time.

    Attributes:
        engine: SQLAlchemy's engine, whose pool this is.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def fetch(self, sql: str, /, **values: Any) -> list[asyncpg.Record]:
        """Execute a statement and return its rows.

        Raises:
            DatabaseUnavailable, ReadConflict: trying again may help. Whether the
                statement was executed is then unknown.
        """
        async with self._autocommit() as connection:
            return await connection.fetch(sql, **values)

    async def fetchrow(self, sql: str, /, **values: Any) -> asyncpg.Record | None:
        """Execute a statement and return its first row, ``None`` without one; see :meth:`fetch`."""
        rows = await self.fetch(sql, **values)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **values: Any) -> int:
        """Execute a statement and return how many rows it read or changed; see :meth:`fetch`."""
        async with self._autocommit() as connection:
            return await connection.execute(sql, **values)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[DatabaseConnection]:
        """Open one transaction; it commits at the end of the ``async with``.

        Raises:
            DatabaseUnavailable, ReadConflict: trying again may help.
        """
        async with self.connection() as connection:
            try:
                async with connection.transaction(isolation=isolation, readonly=readonly):
                    yield connection
            finally:
                # Neither COMMIT nor ROLLBACK has arrived, as after a cancellation: back in the
                # pool, the session would keep its locks.
                if connection.connection.is_in_transaction():
                    await connection.discard()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[DatabaseConnection]:
        """Take a connection from the pool, outside any transaction.

        A session whose error says that it can answer nothing more is closed; back
        in the pool, it would fail every caller that is given it.

        Raises:
            DatabaseUnavailable, ReadConflict: trying again may help.
        """
        with translated_errors():
            async with self.engine.connect() as pooled:
                raw: Connection = (await pooled.get_raw_connection()).driver_connection
                connection = DatabaseConnection(raw, pooled)
                try:
                    yield connection
                except Exception as error:
                    if is_dead_end(error):
                        await connection.discard()
                    raise

    @asynccontextmanager
    async def _autocommit(self) -> AsyncIterator[DatabaseConnection]:
        """Take a connection on which each statement commits on its own.

        Behind a pooler it is in a transaction, the only place for our limits.
        """
        async with self.connection() as connection:
            is_limited = local_limits(connection.connection)
            try:
                async with connection.transaction() if is_limited else nullcontext():
                    yield connection
            # The server has answered: the session executes nothing and can be used again.
            except asyncpg.PostgresError:
                raise
            except BaseException:
                # After a cancellation above all, nobody knows what the session still executes.
                await connection.discard()
                raise

    async def close(self) -> None:
        """Close the pool's connections."""
        await self.engine.dispose()


@asynccontextmanager
async def open_database(url: str, pool_size: int) -> AsyncIterator[Database]:
    """Open a pool of twice ``pool_size`` connections at most; see :func:`create_engine`."""
    database = Database(create_engine(url, pool_size))
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_connection(
    url: str, *, command_timeout_s: float | None = COMMAND_TIMEOUT_S
) -> AsyncIterator[DatabaseConnection]:
    """Open one connection outside any pool, for statements that take long.

    ``command_timeout_s`` limits each statement, in seconds; ``None`` is no limit.

    Raises:
        SettingsInvalid: the address is malformed.
        DatabaseUnavailable: the server cannot be reached in time, or does not let us in.
    """
    connection = await connect(url, command_timeout=command_timeout_s)
    try:
        yield DatabaseConnection(connection)
    finally:
        await connection.close()


def _row_count(status: str) -> int:
    """Return the number in a command tag (``UPDATE 3``, ``INSERT 0 1``); 0 where it has none."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else 0
