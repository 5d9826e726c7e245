"""Metrics of exports: counters at each change, gauges read from the database.

A change is counted after its commit, by the one process that made it, so the sum over all
processes is exact. One exception: where the reply to a commit is lost, a change that happened is
not counted. The statistics, which are read from rows, include it.
"""

from app.database.database import Database
from app.models import Export
from app.observability.metrics import Metrics, MetricValues

# The condition of `exports_active_idx`: without it, each scrape reads the whole table.
ACTIVE = """
    SELECT
        count(*) FILTER (WHERE status = 'queued') AS queued,
        count(*) FILTER (WHERE status = 'running') AS running,
        greatest(0, extract(epoch FROM clock_timestamp() - min(due_at)
            FILTER (WHERE status = 'queued')))::float AS waiting_s,
        greatest(0, extract(epoch FROM clock_timestamp() - min(created_at)))::float AS active_s
    FROM exports
    WHERE status IN ('queued', 'running')
"""

# For how long the oldest file has outlived its expiry or deletion: the first entries of two
# partial indexes.
REMAINING = """
    SELECT greatest(0, extract(epoch FROM statement_timestamp() - least(
        (
            SELECT expires_at
            FROM exports
            WHERE status = 'succeeded'
            ORDER BY expires_at
            LIMIT 1
        ),
        (
            SELECT deletion_requested_at
            FROM exports
            WHERE status = 'succeeded' AND deletion_requested_at IS NOT NULL
            ORDER BY deletion_requested_at
            LIMIT 1
        )
    )))::float AS seconds
"""

VERIFIED = """
    SELECT drift_rows, extract(epoch FROM verified_at)::float AS verified_at
    FROM projection_verifications
    ORDER BY verified_at DESC
    LIMIT 1
"""


def record_export_finished(metrics: Metrics, export: Export) -> None:
    """Count an export that has succeeded, failed or been cancelled; call it after the commit."""
    code = (export.error_code or "") if export.status == "failed" else ""
    metrics.exports_finished.labels(export.status, code).inc()
    if export.status == "succeeded":
        _count_file(metrics, export)


def record_mail_outcome(metrics: Metrics, export: Export, outcome: str) -> None:
    """Count one attempt to send an export's mail.

    ``outcome`` is ``sent``, ``refused``, ``deferred``, ``unanswered`` or ``given_up``.
    """
    kind = "failed" if export.status == "failed" else "ready"
    metrics.mails.labels(kind, outcome).inc()


def _count_file(metrics: Metrics, export: Export) -> None:
    metrics.rows.inc(export.file_rows or 0)
    metrics.bytes.inc(export.file_bytes or 0)
    if export.started_at is not None and export.finished_at is not None:
        processing = export.finished_at - export.started_at
        queueing = export.started_at - export.due_at
        metrics.processing.observe(max(0.0, processing.total_seconds()))
        metrics.queueing.observe(max(0.0, queueing.total_seconds()))


async def read_export_gauges(database: Database) -> MetricValues:
    """Return the gauges: active exports and their age, overdue files, drift at the last verify.

    The drift is absent before the first ``verify``. Only partial indexes are read, of active
    exports and of files to delete.

    Raises:
        DatabaseUnavailable: try again.
    """
    async with database.transaction() as tx:
        (active,) = await tx.fetch(ACTIVE)
        (remaining,) = await tx.fetch(REMAINING)
        verified = await tx.fetchrow(VERIFIED)
    values: MetricValues = {
        "exports_active": {"queued": active["queued"], "running": active["running"]},
        "oldest_waiting_seconds": active["waiting_s"],
        "oldest_active_seconds": active["active_s"],
        "oldest_remaining_file_seconds": remaining["seconds"] or 0,
    }
    if verified is None:
        return values
    return {
        **values,
        "projection_drift_rows": verified["drift_rows"],
        "projection_verified_timestamp_seconds": verified["verified_at"],
    }
