"""Completion: the end of an attempt is recorded, then logged, counted and published."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from app.config import Settings
from app.errors import LeaseLost, ServiceError, TemporaryError
from app.exports.log_events import log_transition
from app.exports.metrics import record_export_finished
from app.exports.notifications import enqueue_export, publish_change
from app.exports.object_keys import object_key
from app.exports.queue.leases import ExportedFile, LeaseStore
from app.models import Export
from app.observability.metrics import Metrics
from app.observability.tracing import Tracer
from app.ports import ExportEvents, ExportQueue
from app.retry import retry_until

log = structlog.get_logger()

LOG_EVENT_BY_STATUS = {
    "succeeded": "export succeeded",
    "failed": "export failed",
    "queued": "export requeued",
}
"""The log event of an attempt's end, by the status that the export has afterwards."""

# Shorter than RELEASE_TIMEOUT_S of workers/__main__.py, after which the process exits.
RELEASE_TIMEOUT_S = 1.0
"""How long to retry the release of an export; after that its lease expires instead."""


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ends.

    ``record`` runs the fenced statement and returns the row after it; it is retried for
    ``retry_s`` while the database is unavailable. ``error_code`` goes into the log line.
    """

    record: Callable[[], Awaitable[Export]]
    retry_s: float
    error_code: str | None = None


class Completion:
    """Records how an attempt ended, then logs, counts and publishes it.

    Every method returns the row after the attempt's last statement: ``None`` where the lease was
    lost, or where the database stayed unavailable and recovery will reclaim the lease.
    """

    def __init__(
        self,
        queue: ExportQueue,
        export_events: ExportEvents,
        settings: Settings,
        tracer: Tracer,
        leases: LeaseStore,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._export_events = export_events
        self._settings = settings
        self._tracer = tracer
        self._leases = leases
        self._metrics = metrics

    async def succeed(
        self, export: Export, file: ExportedFile, *, claims_mail: bool
    ) -> Export | None:
        """Record the file; with ``claims_mail`` this process has the lease of its mail."""
        record = partial(self._leases.succeed, export, file, claims_mail=claims_mail)
        return await self._record(export, AttemptEnd(record, self._settings.record_timeout_s))

    async def fail(self, export: Export, error: ServiceError) -> Export | None:
        """Record a failure: the export waits for a retry, or has failed for good."""
        record = partial(self._leases.fail, export, error)
        end = AttemptEnd(record, self._settings.record_timeout_s, error.code)
        ended = await self._record(export, end)
        # Not enqueued: it is due only after its delay, and workers poll PostgreSQL for it.
        if ended is not None and ended.is_active:
            self._metrics.retries.labels(error.code).inc()
        return ended

    async def release(self, export: Export) -> Export | None:
        """Return the export to the queue, so that another worker claims it at once.

        One that was handed back for too long has failed instead.
        """
        record = partial(self._leases.release, export)
        ended = await self._record(export, AttemptEnd(record, RELEASE_TIMEOUT_S))
        if ended is not None and ended.is_active:
            await enqueue_export(self._queue, ended)
        return ended

    async def mark_for_cleanup(self, export: Export, retry_s: float | None = None) -> Export | None:
        """Have what an attempt left that lost its lease cleaned up, and return its row.

        A lost lease may be our own success: the statement was committed and its answer was lost.
        Then the row names this attempt's object, and the success is logged and returned.
        """
        key = object_key(self._settings.s3_prefix, export.attempt_key, export.format)
        mark = partial(self._leases.mark_for_cleanup, export, key)
        try:
            current = await retry_until(mark, retry_s or self._settings.record_timeout_s)
        except TemporaryError as error:
            log.warning("attempt result not recorded", error=error.code)
            return None
        if current is None or current.object_key != key:
            log.warning("lease lost", found=current and current.status)
            return None
        # By now it may be deleted or expired; this line and this count are for the success.
        await self._announce(replace(current, status="succeeded"))
        return current

    async def _record(self, export: Export, end: AttemptEnd) -> Export | None:
        try:
            with self._tracer.start_child_span("record"):
                ended = await retry_until(end.record, end.retry_s)
        except LeaseLost:
            return await self.mark_for_cleanup(export, end.retry_s)
        except TemporaryError as error:
            log.warning("attempt result not recorded", error=error.code)
            return None
        await self._announce(ended, end.error_code)
        return ended

    async def _announce(self, ended: Export, error_code: str | None = None) -> None:
        """Log, count and publish an end, after the commit: subscribers read the row at once."""
        if not ended.is_active:
            record_export_finished(self._metrics, ended)
        error = {} if error_code is None else {"error": error_code}
        log_transition(LOG_EVENT_BY_STATUS[ended.status], ended, **error)
        await publish_change(self._export_events, ended)
