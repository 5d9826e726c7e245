"""Retrying failed exports, for operators: each runs again under its id."""

from collections.abc import Sequence
from uuid import UUID

from app.database.database import Database
from app.errors import ExportNotReady
from app.exports.audit import AuditContext, record
from app.exports.log_events import export_log_context, log_transition
from app.exports.notifications import enqueue_export, publish_change
from app.exports.queries import find_export
from app.models import EXPORT_COLUMN_LIST, Export
from app.ports import ExportEvents, ExportQueue

# Of calls at once, one finds the row failed. The mail of the failure, if it has not left yet, is
# withdrawn: its senders find another sequence number. The snapshot's instant stays, so that
# requests made since then, which may be active, are not joined with this one.
RETRY = f"""
    UPDATE exports
    SET status = 'queued',
        -- attempt goes on: a number used twice fences nothing, and names the object that an
        -- earlier attempt left and cleanup is about to delete.
        failures = 0,
        retried_at = clock_timestamp(),
        first_started_at = NULL,
        due_at = clock_timestamp(),
        queue_order_at = clock_timestamp(),
        finished_at = NULL,
        rows_exported = 0,
        error_code = NULL,
        error_detail = NULL,
        email_status = NULL,
        email_due_at = NULL,
        email_sent_at = NULL,
        email_error = NULL,
        email_attempts = 0,
        email_unanswered = 0,
        email_sequence = email_sequence + 1
    WHERE id = :id AND status = 'failed'
    RETURNING {EXPORT_COLUMN_LIST}
"""


async def retry_export(
    database: Database,
    queue: ExportQueue,
    export_events: ExportEvents,
    export_id: UUID,
    audit_context: AuditContext,
) -> Export:
    """Queue a failed export again; return it.

    It gets as many attempts and as much time as a new one, and its owner a mail of the new end.

    Raises:
        ExportNotFound: there is none.
        ExportNotReady: it has not failed, or was retried in the meantime.
    """
    async with database.transaction() as tx:
        row = await tx.fetchrow(RETRY, id=export_id)
        if row is None:
            found = await find_export(tx, export_id, None)
            raise ExportNotReady(f"The export is {found.status}: only failed ones run again.")
        export = Export.from_row(row)
        await record(tx, "retried", export, audit_context)
    with export_log_context(export):
        log_transition("export retried", export)
    # After the commit: a worker or subscriber that reads the row earlier finds it failed.
    await publish_change(export_events, export)
    await enqueue_export(queue, export)
    return export


async def retry_exports(
    database: Database,
    queue: ExportQueue,
    export_events: ExportEvents,
    export_ids: Sequence[UUID],
    audit_context: AuditContext,
) -> int:
    """Queue failed exports again, in this order; return how many.

    Those that someone else has retried in the meantime are left out.

    Raises:
        DatabaseUnavailable: those before are queued.
    """
    retried = 0
    for export_id in export_ids:
        try:
            await retry_export(database, queue, export_events, export_id, audit_context)
        except ExportNotReady:
            continue
        retried += 1
    return retried
