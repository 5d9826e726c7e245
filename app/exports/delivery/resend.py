"""Send an export's mail again, or every mail that was given up."""

from contextlib import suppress
from uuid import UUID

from app.database.database import Database, Queryable
from app.errors import ExportNotFound, ExportNotReady, QuotaExceeded, ServiceError
from app.exports.audit import NO_CONTEXT, AuditContext, record
from app.exports.log_events import log_mail_event
from app.exports.queries import find_export
from app.models import EXPORT_COLUMN_LIST, Export

RESENDS_PER_HOUR = 3
HOUR_S = 3600

# The new email_sequence fences a process that still sends the old mail. FOR UPDATE makes
# concurrent requests count each other.
# `recent` stays in order, and the new time is its last: DEFERRED in mail_outcome.py counts from it.
RESEND = f"""
    UPDATE exports
    SET email_status = 'pending',
        email_due_at = clock_timestamp(),
        email_sequence = email_sequence + 1,
        email_attempts = 0,
        email_unanswered = 0,
        email_error = NULL,
        email_sent_at = NULL,
        email_resent_at = array_append(recent, clock_timestamp())
    FROM (
        SELECT
            seller_id AS export_seller_id,
            id AS export_id,
            ARRAY(
                SELECT resent_at
                FROM unnest(email_resent_at) AS resent_at
                WHERE resent_at
                    > statement_timestamp() - make_interval(secs => CAST(:hour_s AS integer))
                ORDER BY resent_at
            ) AS recent
        FROM exports
        WHERE id = :id
        AND (seller_id = :seller_id OR CAST(:seller_id AS bigint) IS NULL)
        FOR UPDATE
    ) AS export
    WHERE seller_id = export_seller_id AND id = export_id
    AND (
        status = 'failed'
        OR status = 'succeeded' AND deletion_requested_at IS NULL
        AND expires_at > statement_timestamp()
    )
    AND cardinality(recent) < :limit
    RETURNING {EXPORT_COLUMN_LIST}
"""


# No row where fewer than the limit were sent within the hour.
SECONDS_UNTIL_RESEND = """
    SELECT
        ceil(
            extract(epoch FROM min(resent_at) - clock_timestamp()) + CAST(:hour_s AS integer)
        )::integer AS seconds
    FROM exports, unnest(email_resent_at) AS resent_at
    WHERE seller_id = :seller_id AND id = :id
    AND resent_at > statement_timestamp() - make_interval(secs => CAST(:hour_s AS integer))
    HAVING count(*) >= :limit
"""

# An operator's command, seldom used: no index serves it.
FAILED_MAILS = """
    SELECT id
    FROM exports
    WHERE email_status = 'failed'
    AND finished_at > statement_timestamp() - make_interval(secs => :since_s)
    AND (
        status = 'failed'
        OR status = 'succeeded' AND deletion_requested_at IS NULL
        AND expires_at > statement_timestamp()
    )
    ORDER BY finished_at
"""


async def resend_failed_emails(
    database: Database, since_s: float, audit_context: AuditContext = NO_CONTEXT
) -> tuple[int, int]:
    """Make every failed mail due again, of exports that ended within the last ``since_s`` seconds.

    Returns the number of mails that are due again, and of those that are not: they were sent
    again too often, or their file is gone meanwhile.

    Raises:
        DatabaseUnavailable: only some of the mails are due again; the command can be repeated.
    """
    rows = await database.fetch(FAILED_MAILS, since_s=since_s)
    sent = 0
    for row in rows:
        with suppress(QuotaExceeded, ExportNotReady, ExportNotFound):
            await resend_email(database, row["id"], None, audit_context)
            sent += 1
    return sent, len(rows) - sent


async def resend_email(
    database: Database,
    export_id: UUID,
    seller_id: int | None,
    audit_context: AuditContext = NO_CONTEXT,
) -> Export:
    """Make the mail of an export that succeeded or failed due again, under a new ``Message-ID``.

    ``seller_id`` is ``None`` where any seller's export may be meant.

    Raises:
        ExportNotFound: there is no such export, or it is another seller's.
        ExportNotReady: it has not ended, was cancelled, or its file is gone.
        QuotaExceeded: its mail was sent again three times within an hour.
        DatabaseUnavailable: try again.
    """
    async with database.transaction() as tx:
        row = await tx.fetchrow(
            RESEND, id=export_id, seller_id=seller_id, hour_s=HOUR_S, limit=RESENDS_PER_HOUR
        )
        if row is None:
            raise await _refusal(tx, export_id, seller_id)
        export = Export.from_row(row)
        await record(tx, "resent", export, audit_context)
    log_mail_event("mail requested", export, "pending")
    return export


async def _refusal(tx: Queryable, export_id: UUID, seller_id: int | None) -> ServiceError:
    """Return why the mail is not sent again."""
    export = await find_export(tx, export_id, seller_id)
    if export.is_being_deleted:
        return ExportNotReady("The export is being deleted: there is no file to mail.")
    if export.status not in ("succeeded", "failed"):
        return ExportNotReady(f"The export is {export.status}: there is no mail to send.")
    seconds_left = await _seconds_left(tx, export)
    if seconds_left is None:
        return ExportNotReady("The file has expired: there is none to mail.")
    return QuotaExceeded("The mail was sent again three times within an hour.", seconds_left)


async def _seconds_left(tx: Queryable, export: Export) -> int | None:
    """Return in how many seconds the mail may be sent again; ``None`` if it was not the limit."""
    row = await tx.fetchrow(
        SECONDS_UNTIL_RESEND,
        seller_id=export.seller_id,
        id=export.id,
        hour_s=HOUR_S,
        limit=RESENDS_PER_HOUR,
    )
    return None if row is None else max(1, row["seconds"])
