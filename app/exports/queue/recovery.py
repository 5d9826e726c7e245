"""Queue recovery: reclaims expired leases.

One worker of the fleet runs it at a time, and two may: one statement reclaims, and skips locked
rows, so that workers need no lock among themselves that a frozen one could keep.
"""

import asyncio

from app.config import Settings
from app.database.database import Database
from app.exports.log_events import export_log_context, log_transition
from app.exports.metrics import record_export_finished
from app.exports.notifications import enqueue_export, publish_change
from app.exports.queue.failure_policy import WORKER_LOST, WORKER_LOST_DETAIL
from app.models import EXPORT_COLUMN_LIST, Export
from app.observability.metrics import Metrics
from app.ports import ExportEvents, ExportQueue

BATCH = 500

# queue_order_at stays: the export keeps its place, and the next advance of the queue's start
# finds it there. The row lock keeps a heartbeat from renewing the lease after it was read.
RECLAIM_EXPIRED_LEASES = f"""
    UPDATE exports
    SET status = CASE WHEN is_last THEN 'failed' ELSE 'queued' END,
        failures = failures + 1,
        due_at = clock_timestamp(),
        finished_at = CASE WHEN is_last THEN clock_timestamp() END,
        lease_expires_at = NULL,
        uncleaned_attempts = array_append(uncleaned_attempts, attempt),
        error_code = :code,
        error_detail = :lost,
        email_status = CASE WHEN is_last THEN 'pending' END,
        email_due_at = CASE WHEN is_last THEN clock_timestamp() END
    FROM (
        SELECT
            seller_id AS lost_seller_id,
            id AS lost_id,
            failures + 1 >= :max_failures OR first_started_at
                <= statement_timestamp() - make_interval(secs => :last_attempt_after_s) AS is_last
        FROM exports
        WHERE status = 'running' AND lease_expires_at < statement_timestamp()
        ORDER BY id
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    ) AS lost
    WHERE seller_id = lost_seller_id AND id = lost_id
    RETURNING {EXPORT_COLUMN_LIST}
"""


class QueueRecovery:
    """Reclaims leases that have expired, because a worker crashed, froze or lost its network.

    Raises ``DatabaseUnavailable`` while the database is unavailable; the next run does the rest.
    """

    def __init__(
        self,
        database: Database,
        queue: ExportQueue,
        export_events: ExportEvents,
        settings: Settings,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._queue = queue
        self._export_events = export_events
        self._settings = settings
        self._metrics = metrics or Metrics()

    async def reclaim_expired_leases(self) -> list[Export]:
        """Reclaim exports whose lease has expired, and return them.

        They are queued again, or have failed: after ``max_failures``, or because they were overdue.
        """
        lost = await self._database.fetch(
            RECLAIM_EXPIRED_LEASES,
            batch=BATCH,
            max_failures=self._settings.max_failures,
            last_attempt_after_s=self._settings.last_attempt_after_s,
            code=WORKER_LOST,
            lost=WORKER_LOST_DETAIL,
        )
        exports = [Export.from_row(row) for row in lost]
        for export in exports:
            self._count(export)
            with export_log_context(export):
                event = "lease reclaimed" if export.is_active else "export failed"
                log_transition(event, export, error=export.error_code)
        await asyncio.gather(*map(self._announce, exports))
        return exports

    def _count(self, export: Export) -> None:
        self._metrics.leases_reclaimed.inc()
        if export.is_active:
            self._metrics.retries.labels(export.error_code).inc()
        else:
            record_export_finished(self._metrics, export)

    async def _announce(self, export: Export) -> None:
        await publish_change(self._export_events, export)
        if export.is_active:
            await enqueue_export(self._queue, export)
