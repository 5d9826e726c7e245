"""Best-effort notifications after a commit: enqueue an export, publish that it changed."""

import structlog

from app.errors import QueueUnavailable
from app.exports.log_events import attempt_log_context
from app.models import Export
from app.ports import ExportEvents, ExportJob, ExportQueue

log = structlog.get_logger()


async def enqueue_export(queue: ExportQueue, export: Export) -> None:
    """Enqueue a job for a queued export, after its row is committed.

    While Redis is unavailable nothing is lost: workers poll PostgreSQL as well.
    """
    try:
        await queue.enqueue(ExportJob(export.seller_id, export.id, export.attempt, export.lane))
    # Not raised: the row is committed, and the caller must not report a failure.
    except QueueUnavailable as error:
        with attempt_log_context(export.attempt_key):
            log.warning("enqueue failed", error=error.code, reason=str(error))
    except Exception as error:  # a defect of a library, say: as above
        with attempt_log_context(export.attempt_key):
            log.exception("enqueue failed", error=type(error).__name__)


async def publish_change(export_events: ExportEvents, export: Export) -> None:
    """Notify subscribers of an export that its row has changed, after the commit.

    While Redis is unavailable they find out by rereading the row now and then.
    """
    try:
        await export_events.publish(export.id)
    except QueueUnavailable as error:
        with attempt_log_context(export.attempt_key):
            # Not a warning: heartbeats publish once a second for each running export.
            log.debug("publish failed", error=error.code)
    except Exception as error:
        with attempt_log_context(export.attempt_key):
            log.exception("publish failed", error=type(error).__name__)
