"""Reading rows of exports for many listeners at once."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import transaction
from app.ending import end
from app.errors import ExportNotFound
from app.models import EXPORT_NAMES, Export

COLLECT_S = 0.02
"""How long a reading waits for others to join its query."""

Key: TypeAlias = tuple[int, UUID]
"""A seller and one of its exports."""

READ = f"""
    SELECT {EXPORT_NAMES}
    FROM exports
    JOIN unnest(CAST(:sellers AS bigint[]), CAST(:ids AS uuid[])) AS asked (seller_id, id)
        ON exports.seller_id = asked.seller_id AND exports.id = asked.id
"""


class Readings:
    """Answers whoever asks while one query runs with the next: a crowd costs one connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._asked: dict[Key, asyncio.Future[Export]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def read(self, seller_id: int, export_id: UUID) -> Export:
        """Return the export as it is after this call.

        Raises:
            ExportNotFound: its row is gone, or the seller is another.
            DatabaseUnavailable: try again later.
        """
        future = self._asked.get((seller_id, export_id))
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._asked[seller_id, export_id] = future
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._answer_all(), name="export readings")
        return await asyncio.shield(future)

    async def aclose(self) -> None:
        """Stop reading; who still waits is cancelled."""
        if self._reader is not None:
            await end(self._reader)
        for future in self._asked.values():
            future.cancel()

    async def _answer_all(self) -> None:
        while self._asked:
            await asyncio.sleep(COLLECT_S)
            asked, self._asked = self._asked, {}
            try:
                await self._answer(asked)
            finally:
                for future in asked.values():
                    future.cancel()  # does nothing to one that has its answer

    async def _answer(self, asked: dict[Key, asyncio.Future[Export]]) -> None:
        try:
            found = await self._find(asked)
        except Exception as error:
            for future in asked.values():
                _fail(future, error)  # theirs to deal with, whatever it is
            return
        for key, future in asked.items():
            if key in found:
                future.set_result(found[key])
            else:
                _fail(future, ExportNotFound("There is no such export."))

    async def _find(self, keys: Iterable[Key]) -> dict[Key, Export]:
        sellers, ids = zip(*keys, strict=True)
        async with transaction(self._engine) as connection:
            rows = await connection.execute(text(READ), {"sellers": sellers, "ids": ids})
            exports = map(Export.of, rows)
            return {(export.seller_id, export.id): export for export in exports}


def _fail(future: asyncio.Future[Export], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # seen: whoever asked may have gone away


@asynccontextmanager
async def open_readings(engine: AsyncEngine) -> AsyncIterator[Readings]:
    """Yield the readings of one process."""
    readings = Readings(engine)
    try:
        yield readings
    finally:
        await readings.aclose()
