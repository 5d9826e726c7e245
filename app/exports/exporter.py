"""One attempt at one export, from the claim to its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import Merge
from app.config import Settings
from app.errors import (
    LeaseLost,
    ServiceError,
    StreamStalled,
    TemporaryError,
    Unexpected,
)
from app.exports.attempts import Attempts, ExportedFile
from app.exports.pipeline import Progress, first_error, open_sink, stream_export
from app.exports.queries import find_export
from app.exports.residue import Residue, object_key, session_name
from app.exports.telling import ring, tell
from app.models import Export
from app.ports import ExportNews, ExportQueue, ObjectStorage

log = structlog.get_logger()

RECORD_RETRY_S = 1.0


class Exporter:
    """Runs attempts: claims an export, writes its file, records the end."""

    def __init__(
        self,
        engine: AsyncEngine,
        audience_engine: AsyncEngine,
        storage: ObjectStorage,
        queue: ExportQueue,
        news: ExportNews,
        settings: Settings,
        worker: str,
    ) -> None:
        self._engine = engine
        self._audience_engine = audience_engine
        self._storage = storage
        self._queue = queue
        self._news = news
        self._settings = settings
        self._attempts = Attempts(engine, settings, worker)
        self._residue = Residue(engine, audience_engine, storage, settings)

    async def claim(self, seller_id: int, export_id: UUID) -> Export | None:
        """Take an export for this worker; ``None`` when there is nothing to do."""
        export = await self._attempts.claim(seller_id, export_id)
        if export is not None:
            await self._tell(export, "export claimed")
        return export

    async def run(self, export: Export) -> Export | None:
        """Write the file of a claimed export and return the row at its end.

        ``None`` when the lease was lost or the database is away. Cancelled,
        it hands the export back. No upload and no object without an owner
        stays behind.
        """
        try:
            file = await self._write(export)
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back(export))
            raise
        except LeaseLost:
            return await self._after_lease_lost(export)
        except ServiceError as error:
            return await self._fail(export, error)
        except Exception as error:
            log.exception("attempt broke", export_id=str(export.id), attempt=export.attempt)
            return await self._fail(export, Unexpected(f"Something broke: {type(error).__name__}."))
        return await self._end(export, partial(self._attempts.succeed, file=file))

    async def _write(self, export: Export) -> ExportedFile:
        progress = Progress()
        key = object_key(self._settings, export.seller_id, export.id, export.attempt)
        merge = Merge(
            export.seller_id,
            tuple(export.sources),
            tuple(export.columns),
            export.spreadsheet_safe,
            export.bom,
        )
        async with (
            self._heartbeat(export, progress),
            open_sink(self._storage, key, self._settings, progress) as sink,
        ):
            snapshot_at = await stream_export(
                self._audience_engine,
                merge,
                sink,
                progress,
                self._settings,
                session_name(export.id, export.attempt),
            )
            await sink.finish()
        name = file_name(export, snapshot_at)
        return ExportedFile(key, name, progress.rows, progress.bytes, snapshot_at)

    @asynccontextmanager
    async def _heartbeat(self, export: Export, progress: Progress) -> AsyncIterator[None]:
        async with first_error(), asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat(export, progress))
            yield
            beating.cancel()

    async def _beat(self, export: Export, progress: Progress) -> None:
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            try:
                await self._attempts.renew(export, progress.rows, progress.snapshot_at)
                renewed_at = time.monotonic()
                await self._tell(export)
            except TemporaryError as error:
                if time.monotonic() - renewed_at > self._settings.lease_s:
                    raise LeaseLost("The lease could not be renewed in time.") from error
            if time.monotonic() - progress.moved_at > self._settings.stall_timeout_s:
                raise StreamStalled(
                    f"No data moved for {self._settings.stall_timeout_s:.0f} seconds."
                )

    async def _fail(self, export: Export, error: ServiceError) -> Export | None:
        log.warning(
            "attempt failed", export_id=str(export.id), attempt=export.attempt, error=error.code
        )
        return await self._end(export, partial(self._attempts.fail, error=error))

    async def _hand_back(self, export: Export) -> None:
        ended = await self._end(export, self._attempts.hand_back)
        if ended is not None:
            await ring(self._queue, ended)

    async def _end(
        self, export: Export, change: Callable[[Export], Awaitable[Export]]
    ) -> Export | None:
        """Record the attempt's end and clear what it left, unless it succeeded."""
        try:
            ended = await self._record(export, change)
        except LeaseLost:
            return await self._after_lease_lost(export)
        except TemporaryError as error:
            log.warning("end not recorded", export_id=str(export.id), error=error.code)
            return None
        await self._tell(ended, f"export {ended.status}")
        if ended.status != "succeeded":
            await self._residue.clear(export.seller_id, export.id, export.attempt)
        return ended

    async def _record(
        self, export: Export, change: Callable[[Export], Awaitable[Export]]
    ) -> Export:
        """Record an end, again and again while the database is away."""
        deadline = time.monotonic() + self._settings.record_timeout_s
        while True:
            try:
                return await change(export)
            except TemporaryError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RECORD_RETRY_S)

    async def _after_lease_lost(self, export: Export) -> Export | None:
        """Clean up, unless our own end was recorded and only its answer was lost."""
        current = await find_export(self._engine, export.id, export.seller_id)
        key = object_key(self._settings, export.seller_id, export.id, export.attempt)
        if current.status == "succeeded" and current.object_key == key:
            return current
        log.warning("lease lost", export_id=str(export.id), attempt=export.attempt)
        await self._residue.clear(export.seller_id, export.id, export.attempt)
        return None

    async def _tell(self, export: Export, event: str | None = None, **facts: str) -> None:
        if event is not None:
            log.info(
                event,
                export_id=str(export.id),
                seller_id=export.seller_id,
                attempt=export.attempt,
                rows=export.rows_exported,
                **facts,
            )
        await tell(self._news, export)


def file_name(export: Export, snapshot_at: datetime) -> str:
    """Return the name a browser saves the file under."""
    return f"audience-{export.seller_id}-{snapshot_at:%Y-%m-%d}.csv"
