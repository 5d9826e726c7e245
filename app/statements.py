"""Single statements that are transactions of their own, the short way to PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import UNREACHABLE, Connection, temporary_error

PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


class Statement:
    """One SQL statement that runs, and commits, by itself.

    It goes to asyncpg directly, from the engine's pool: no BEGIN and no
    COMMIT travel, and SQLAlchemy's part, three times asyncpg's, is saved.
    Parameters are named in the text, ``:name``, as SQLAlchemy's ``text`` has them.
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
        async with lent_connection(engine) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(
                self._sql, *(values[name] for name in self._names)
            )
        return rows

    async def row(self, engine: AsyncEngine, **values: Any) -> asyncpg.Record | None:
        """Run it and return its only row, ``None`` where there is none; see :meth:`rows`."""
        rows = await self.rows(engine, **values)
        return rows[0] if rows else None


@asynccontextmanager
async def lent_connection(engine: AsyncEngine) -> AsyncIterator[Connection]:
    """Lend a connection of the pool, outside of any transaction.

    Left by anything but the server's own refusal, a cancel above all, it is
    closed: nobody knows what it is in the middle of.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    try:
        async with engine.connect() as pooled:
            connection: Connection = (await pooled.get_raw_connection()).driver_connection
            try:
                yield connection
            except asyncpg.PostgresError:
                raise
            except BaseException:
                connection.terminate()
                await asyncio.shield(pooled.invalidate())
                raise
    except (SQLAlchemyError, asyncpg.PostgresError, *UNREACHABLE) as error:
        known = temporary_error(error)
        if known is None:
            raise
        raise known from error
