"""Counting what happens to exports, after it was committed, where it was done.

Each change is counted by the one process that made it, so that the sum over
all processes is exact. A change whose answer from the database was lost may
have happened uncounted; the statistics, which are read from rows, know of it.
"""

from app.metrics import Metrics
from app.models import Export


def count_end(metrics: Metrics, export: Export) -> None:
    """Count an export that has just succeeded, failed or been cancelled."""
    code = (export.error_code or "") if export.status == "failed" else ""
    metrics.exports_finished.labels(export.status, code).inc()
    if export.status == "succeeded":
        _count_file(metrics, export)


def count_mail(metrics: Metrics, export: Export, outcome: str) -> None:
    """Count one try to send the mail of an export that has ended."""
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
