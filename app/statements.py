"""Statements that go the short way to PostgreSQL, by themselves or in a transaction."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import (
    Connection,
    discard,
    driver_connection,
    pooled_transaction,
    translated_errors,
)

if TYPE_CHECKING:
    from asyncpg.prepared_stmt import PreparedStatement

    Prepared: TypeAlias = PreparedStatement[asyncpg.Record]

Kept: TypeAlias = "dict[str, Prepared]"
"""What one connection has prepared, by its text."""

Lent: TypeAlias = tuple[Connection, Kept]
"""A connection of the pool, and what it has prepared."""

PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


class Statement:
    """One SQL statement that runs, and commits, by itself, or in a transaction that is lent.

    It goes to asyncpg directly, from the engine's pool: by itself no BEGIN and
    no COMMIT travel, and SQLAlchemy's part, three times asyncpg's, is saved.
    Parameters are named in the text, ``:name``, as SQLAlchemy's ``text`` has them.
    A connection asks once what it takes and returns, then needs one round trip;
    the server is told the text each time, so that a PgBouncer may stand between.
    """

    def __init__(self, sql: str) -> None:
        self._names = list(dict.fromkeys(PARAMETER.findall(sql)))
        self._sql = PARAMETER.sub(lambda found: f"${self._names.index(found[1]) + 1}", sql)

    async def rows(self, engine: AsyncEngine, **values: Any) -> list[asyncpg.Record]:
        """Run it and return its rows.

        Raises:
            DatabaseUnavailable, SourceBusy: trying again may help. Whether it
                was done is then unknown.
        """
        async with lent_connection(engine) as (connection, kept):
            return await self.rows_on(connection, kept, **values)

    async def rows_on(
        self, connection: Connection, kept: Kept, **values: Any
    ) -> list[asyncpg.Record]:
        """Run it on a connection, within its transaction if there is one, and return its rows.

        ``kept`` is what the connection has prepared. Raises what asyncpg does.
        """
        prepared = kept.get(self._sql)
        if prepared is None:
            prepared = kept[self._sql] = await connection.prepare(self._sql, name="")
        rows: list[asyncpg.Record] = await prepared.fetch(*(values[name] for name in self._names))
        return rows

    async def row(self, engine: AsyncEngine, **values: Any) -> asyncpg.Record | None:
        """Run it and return its only row, ``None`` where there is none; see :meth:`rows`."""
        rows = await self.rows(engine, **values)
        return rows[0] if rows else None

    async def row_on(
        self, connection: Connection, kept: Kept, **values: Any
    ) -> asyncpg.Record | None:
        """Run it on a connection and return its only row; see :meth:`rows_on`."""
        rows = await self.rows_on(connection, kept, **values)
        return rows[0] if rows else None


@asynccontextmanager
async def lent_transaction(engine: AsyncEngine) -> AsyncIterator[Lent]:
    """Lend a connection of the pool in a transaction; it commits at the end of the ``async with``.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    async with pooled_transaction(engine) as (connection, pooled):
        yield connection, kept_by(pooled)


@asynccontextmanager
async def lent_connection(
    engine: AsyncEngine,
) -> AsyncIterator[Lent]:
    """Lend a connection of the pool, outside of any transaction, and what it has prepared.

    Left by anything but the server's own refusal, a cancel above all, it is
    closed: nobody knows what it is in the middle of.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    with translated_errors():
        async with engine.connect() as pooled:
            connection = await driver_connection(pooled)
            try:
                yield connection, kept_by(pooled)
            except asyncpg.PostgresError:
                raise
            except BaseException:
                await discard(pooled, connection)
                raise


def kept_by(pooled: AsyncConnection) -> Kept:
    """Return what a connection of the pool has prepared."""
    kept: Kept = pooled.info.setdefault("prepared", {})
    return kept
