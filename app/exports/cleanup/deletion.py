"""Deletion: cancels an active export, erases the file of one that succeeded."""

import asyncio
from uuid import UUID

import structlog

from app.database.database import Database
from app.errors import ServiceError
from app.exports.audit import NO_CONTEXT, AuditContext, record
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.log_events import attempt_log_context, log_mail_event, log_transition
from app.exports.metrics import record_export_finished
from app.exports.queries import find_export
from app.models import EXPORT_COLUMN_LIST, Action, Export
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected

log = structlog.get_logger()

CLEAR_TIMEOUT_S = 2.0
"""How long the caller waits for the store; after that, attempt cleanup deletes the file."""

DELETE = f"""
    UPDATE exports
    SET status = CASE
            WHEN status IN ('queued', 'running') THEN 'cancelled'
            ELSE status
        END,
        deletion_requested_at = CASE
            WHEN status = 'succeeded' THEN clock_timestamp()
            ELSE deletion_requested_at
        END,
        finished_at = coalesce(finished_at, clock_timestamp()),
        lease_expires_at = NULL,
        uncleaned_attempts = CASE
            -- That of a file, too: if this process dies, cleanup finds by it what is to be deleted.
            WHEN status = 'running' OR (status = 'succeeded' AND deletion_requested_at IS NULL)
                THEN array_append(uncleaned_attempts, attempt)
            ELSE uncleaned_attempts
        END,
        -- Not NULL in every case: a mail that was sent stays on record.
        email_status = nullif(email_status, 'pending'),
        email_due_at = NULL
    WHERE id = :id AND (seller_id = :seller_id OR CAST(:seller_id AS bigint) IS NULL)
    AND (NOT :only_active OR status IN ('queued', 'running'))
    AND (
        status IN ('queued', 'running')
        OR (status = 'succeeded' AND deletion_requested_at IS NULL)
        OR email_status = 'pending'
    )
    RETURNING {EXPORT_COLUMN_LIST}
"""

AUDITED: dict[str, Action] = {"cancelled": "cancelled", "succeeded": "erased"}


async def delete_export(
    database: Database,
    attempt_cleaner: AttemptCleaner,
    export_id: UUID,
    seller_id: int | None,
    audit_context: AuditContext = NO_CONTEXT,
    metrics: Metrics | None = None,
    *,
    only_active: bool = False,
) -> Export:
    """Cancel an active export, or erase the file of one that succeeded.

    The row changes at once: the worker that runs the export has lost its lease, links no longer
    open, and a mail not yet sent is withdrawn. Before this returns, a file is deleted and a running
    COPY is ended on its server; where that fails, attempt cleanup does it within seconds, and
    removes what else an attempt left. An export with a file is ``deleted`` once the store no
    longer has the file, and ``succeeded`` until then. One that failed, expired or was cancelled
    stays as it is, and so does every one that has ended where ``only_active``. ``seller_id``
    ``None`` means any seller.

    Raises:
        ExportNotFound: there is none, or it is another seller's.
    """
    async with database.transaction() as tx:
        row = await tx.fetchrow(DELETE, id=export_id, seller_id=seller_id, only_active=only_active)
        if row is None:
            export = await find_export(tx, export_id, seller_id)
        else:
            export = Export.from_row(row)
            if action := AUDITED.get(export.status):
                await record(tx, action, export, audit_context)
    # After the commit: by now no link opens the file, and its worker has lost the lease.
    with attempt_log_context(export.attempt_key):
        if row is not None:
            _log_deletion(export, metrics)
        try:
            async with asyncio.timeout(CLEAR_TIMEOUT_S):
                return await _cleared(database, attempt_cleaner, export)
        except (ServiceError, TimeoutError) as error:
            log.warning("attempt cleanup deferred", error=type(error).__name__)
        except Exception:  # the row is final, and the cleanup removes the rest
            report_unexpected(metrics or Metrics(), "deletion")
    return export


def _log_deletion(export: Export, metrics: Metrics | None) -> None:
    match export.status:
        case "cancelled":
            log_transition("export cancelled", export)
            if metrics is not None:
                record_export_finished(metrics, export)
        case "succeeded":
            log.info("deletion requested")
        case _:
            log_mail_event("mail cancelled", export, None)


async def _cleared(database: Database, attempt_cleaner: AttemptCleaner, export: Export) -> Export:
    """Clear what can be cleared at once and return the export as it is then."""
    if export.status == "cancelled":
        await attempt_cleaner.terminate_sessions(export)
    if not export.is_being_deleted:
        return export
    deleted = await attempt_cleaner.clean_up(export.attempt_key, export.format, export.object_key)
    return deleted or await find_export(database, export.id, export.seller_id)
