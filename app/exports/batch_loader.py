"""The batch loader: rows of exports that are requested together are read by one query."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from app.concurrency import cancel_and_wait
from app.database.database import Database
from app.errors import ExportNotFound
from app.models import EXPORT_COLUMN_LIST, Export, ExportKey

BATCH_WINDOW_S = 0.02
"""How long the first request waits for others to join its query."""

SELECT_MANY = f"""
    SELECT {EXPORT_COLUMN_LIST}
    FROM exports
    JOIN unnest(CAST(:sellers AS bigint[]), CAST(:ids AS uuid[])) AS pending (seller_id, id)
        ON exports.seller_id = pending.seller_id AND exports.id = pending.id
"""


class ExportLoader:
    """Batches reads: those that arrive while one query runs share the next, on one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[ExportKey, asyncio.Future[Export]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def load(self, key: ExportKey) -> Export:
        """Return the export as it is after this call.

        Raises:
            ExportNotFound: its row is gone, or the seller is another.
            DatabaseUnavailable: try again later.
        """
        future = self._pending.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._pending[key] = future
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._resolve_all(), name="export readings")
        # Shielded: a caller that is cancelled would cancel the future, which others wait for.
        return await asyncio.shield(future)

    async def aclose(self) -> None:
        """Stop reading; callers that still wait are cancelled."""
        if self._reader is not None:
            await cancel_and_wait(self._reader)
        for future in self._pending.values():
            future.cancel()

    async def _resolve_all(self) -> None:
        while self._pending:
            await asyncio.sleep(BATCH_WINDOW_S)
            # Before the query: a call that is made while it runs must get a later row.
            pending, self._pending = self._pending, {}
            try:
                await self._resolve(pending)
            finally:
                for future in pending.values():
                    future.cancel()  # no effect on one that has its result

    async def _resolve(self, pending: dict[ExportKey, asyncio.Future[Export]]) -> None:
        try:
            found = await self._find(pending)
        except Exception as error:
            for future in pending.values():
                _fail(future, error)  # the callers handle it
            return
        for key, future in pending.items():
            if key in found:
                future.set_result(found[key])
            else:
                _fail(future, ExportNotFound("There is no such export."))

    async def _find(self, keys: Iterable[ExportKey]) -> dict[ExportKey, Export]:
        sellers, ids = zip(*keys, strict=True)
        rows = await self._database.fetch(SELECT_MANY, sellers=sellers, ids=ids)
        return {export.key: export for export in map(Export.from_row, rows)}


def _fail(future: asyncio.Future[Export], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # retrieved: the caller may be gone


@asynccontextmanager
async def open_export_loader(database: Database) -> AsyncIterator[ExportLoader]:
    """Yield the loader of one process."""
    loader = ExportLoader(database)
    try:
        yield loader
    finally:
        await loader.aclose()
