"""One attempt at one export, from the claim to its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import Merge
from app.audience.standby import Asked
from app.config import Settings
from app.ending import end
from app.errors import (
    LeaseLost,
    ReplicaBehind,
    ServiceError,
    SourceBusy,
    StreamStalled,
    TemporaryError,
    Unexpected,
)
from app.exports.attempts import Attempts, ExportedFile
from app.exports.counting import count_end
from app.exports.insistence import insist
from app.exports.journal import in_the_name_of, names, noted
from app.exports.pipeline import Progress, first_error, open_sink, stream_export
from app.exports.residue import object_key, session_name
from app.exports.telling import ring, tell
from app.metrics import Metrics
from app.models import Export
from app.ports import ExportNews, ExportQueue, Lane, ObjectStorage
from app.tracing import NOTHING, UNTRACED, Facts, Tracer

log = structlog.get_logger()

ENDS = {
    "succeeded": "export succeeded",
    "failed": "export failed",
    "queued": "export requeued",
}
"""How an attempt's end is called in the log, by the state it leads to."""

HAND_BACK_S = 1.0
"""How long to insist on giving an export back; after that its lease runs out instead."""

BUSY_ATTEMPTS = 3
"""After so many, a standby that cancels reads or lags behind is no longer asked."""

BUSY = (SourceBusy.code, ReplicaBehind.code)


@dataclass
class MailHold:
    """Since when, in monotonic seconds, a success holds its own mail; no later than it does."""

    since: float | None = None


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
        metrics: Metrics | None = None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._engine = engine
        self._audience_engine = audience_engine
        self._storage = storage
        self._queue = queue
        self._news = news
        self._settings = settings
        self._tracer = tracer
        self._attempts = Attempts(engine, settings, worker)
        self._metrics = metrics or Metrics()

    async def claim(self, seller_id: int, export_id: UUID) -> Export | None:
        """Take an export for this worker; ``None`` when there is nothing to do.

        Raises:
            DatabaseUnavailable: whether it was taken is unknown; if so, its
                lease runs out.
        """
        export = await self._attempts.claim(seller_id, export_id)
        if export is not None:
            await self._tell_of_claim(export)
        return export

    async def claim_next(self, lane: Lane) -> Export | None:
        """Take the export whose turn it is in a lane; see :meth:`claim`."""
        export = await self._attempts.claim_next(lane)
        if export is not None:
            await self._tell_of_claim(export)
        return export

    async def _tell_of_claim(self, export: Export) -> None:
        with in_the_name_of(export):
            noted("export claimed", export)
            await tell(self._news, export)

    async def run(
        self, export: Export, asked_at: datetime | None = None, hold: MailHold | None = None
    ) -> Export | None:
        """Write the file of a claimed export and return the row at its end.

        With a ``hold`` the mail of a success is the caller's to send, now: for
        others it is due after ``mail_lease_s``.

        ``None`` when the lease was lost or the database stays away. Cancelled,
        it hands the export back. What an attempt that did not succeed may have
        left outside is noted in the row, for the sweep. ``asked_at`` is when the
        claim began, for the trace.
        """
        claimed_at = datetime.now(UTC)
        asked_at = asked_at or claimed_at
        begun_at = min(export.due_at, asked_at)
        with (
            in_the_name_of(export),
            self._tracer.begin(
                "export",
                export.traceparent,
                _attributes(export),
                kind="consumer",
                started_at=begun_at,
            ) as span,
        ):
            self._tracer.past("queue", begun_at, asked_at)
            self._tracer.past("claim", asked_at, claimed_at)
            try:
                ended = await self._run(export, hold)
            except asyncio.CancelledError:
                await asyncio.shield(self._hand_back(export))
                raise
            span.add(_result(ended))
        return ended

    async def _run(self, export: Export, hold: MailHold | None) -> Export | None:
        try:
            file = await self._write(export)
        except LeaseLost:
            return await self._after_lease_lost(export)
        except ServiceError as error:
            log.warning("attempt failed", **names(export), error=error.code, reason=str(error))
            return await self._fail(export, error)
        except Exception as error:
            log.exception("attempt broke", **names(export))
            broken = Unexpected(f"Something broke: {type(error).__name__}.")
            return await self._fail(export, broken)
        if hold is not None:
            hold.since = time.monotonic()
        succeed = partial(self._attempts.succeed, file=file, holds_mail=hold is not None)
        return await self._end(export, succeed)

    async def _fail(self, export: Export, error: ServiceError) -> Export | None:
        ended = await self._end(export, partial(self._attempts.fail, error=error), error.code)
        if ended is not None and ended.is_active:
            self._metrics.retries.labels(error.code).inc()
        return ended

    async def _write(self, export: Export) -> ExportedFile:
        progress = Progress()
        key = self._key(export)
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
            with self._tracer.step("copy"):
                snapshot_at = await stream_export(
                    self._source(export),
                    merge,
                    sink,
                    progress,
                    self._settings,
                    session_name(export.id, export.attempt),
                    self._asked(export),
                )
            with self._tracer.step("complete"):
                await sink.finish()
        name = file_name(export, snapshot_at)
        return ExportedFile(key, name, progress.rows, progress.bytes, snapshot_at)

    def _source(self, export: Export) -> AsyncEngine:
        """Return where to read: the primary once a standby has failed this export too often."""
        is_busy = export.error_code in BUSY and export.attempt > BUSY_ATTEMPTS
        return self._engine if is_busy else self._audience_engine

    def _asked(self, export: Export) -> Asked | None:
        """Return what a standby must have replayed; there is none where no address names it."""
        if self._settings.audience_database_url is None:
            return None
        return Asked(export.created_at, export.asked_lsn, self._settings.replica_wait_s)

    @asynccontextmanager
    async def _heartbeat(self, export: Export, progress: Progress) -> AsyncIterator[None]:
        async with first_error(), asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat(export, progress))
            try:
                yield
            finally:
                await end(beating)

    async def _beat(self, export: Export, progress: Progress) -> None:
        """Renew the lease until cancelled.

        Raises:
            LeaseLost: the export is no longer this attempt's.
            TemporaryError: the database was away for as long as a lease lasts.
            StreamStalled: no data moved for too long.
        """
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            try:
                await self._attempts.renew(export, progress.rows, progress.snapshot_at)
                renewed_at = time.monotonic()
                await tell(self._news, export)
            except TemporaryError:
                if time.monotonic() - renewed_at > self._settings.lease_s:
                    raise
            if time.monotonic() - progress.moved_at > self._settings.stall_timeout_s:
                raise StreamStalled(
                    f"No data moved for {self._settings.stall_timeout_s:.0f} seconds."
                )

    async def _hand_back(self, export: Export) -> None:
        ended = await self._end(export, self._attempts.hand_back, insist_s=HAND_BACK_S)
        if ended is not None:
            await ring(self._queue, ended)

    async def _end(
        self,
        export: Export,
        change: Callable[[Export], Awaitable[Export]],
        error_code: str | None = None,
        insist_s: float | None = None,
    ) -> Export | None:
        """Record the attempt's end, insisting while the database is away."""
        try:
            with self._tracer.step("record"):
                ended = await insist(
                    partial(change, export), insist_s or self._settings.record_timeout_s
                )
        except LeaseLost:
            return await self._after_lease_lost(export, insist_s)
        except TemporaryError as error:
            log.warning("end not recorded", **names(export), error=error.code)
            return None
        if not ended.is_active:
            count_end(self._metrics, ended)
        noted(ENDS[ended.status], ended, error=error_code)
        await tell(self._news, ended)
        return ended

    async def _after_lease_lost(
        self, export: Export, insist_s: float | None = None
    ) -> Export | None:
        """Have cleared up, unless our own end was recorded and only its answer was lost."""
        key = self._key(export)
        disown = partial(self._attempts.disown, export, key)
        try:
            current = await insist(disown, insist_s or self._settings.record_timeout_s)
        except TemporaryError as error:
            log.warning("end not recorded", **names(export), error=error.code)
            return None
        if current is not None and current.object_key == key:
            count_end(self._metrics, current)
            noted(ENDS[current.status], current)
            await tell(self._news, current)
            return current
        log.warning("lease lost", **names(export), found=current and current.status)
        return None

    def _key(self, export: Export) -> str:
        return object_key(self._settings, export.seller_id, export.id, export.attempt)


def file_name(export: Export, snapshot_at: datetime) -> str:
    """Return the name a browser saves the file under."""
    return f"audience-{export.seller_id}-{snapshot_at:%Y-%m-%d}.csv"


def _attributes(export: Export) -> Facts:
    """Return what the trace knows an attempt by."""
    return {
        "export.id": str(export.id),
        "export.attempt": export.attempt,
        "seller.id": export.seller_id,
    }


def _result(ended: Export | None) -> Facts:
    """Return what the trace tells of an attempt's end."""
    if ended is None:
        return {"export.status": "lost"}
    size = (
        {"export.rows": ended.file_rows, "export.bytes": ended.file_bytes}
        if ended.file_rows is not None and ended.file_bytes is not None
        else NOTHING
    )
    return {"export.status": ended.status, **size}
