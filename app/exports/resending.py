"""Sending an export's mail again."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import transaction
from app.errors import ExportNotReady, QuotaExceeded, ServiceError
from app.exports.audit import UNKNOWN, Origin, record
from app.exports.journal import mail_noted
from app.exports.queries import find_export_in
from app.models import EXPORT_NAMES, Export

RESENDS_PER_HOUR = 3
HOUR_S = 3600

RESEND = """
    UPDATE exports
    SET email_status = 'pending',
        email_due_at = clock_timestamp(),
        email_sequence = email_sequence + 1,
        email_attempts = 0,
        email_sent_at = NULL,
        email_resent_at = array_append(recent, clock_timestamp())
    FROM (
        SELECT
            seller_id AS found_seller_id,
            id AS found_id,
            ARRAY(
                SELECT resent_at
                FROM unnest(email_resent_at) AS resent_at
                WHERE resent_at > clock_timestamp() - interval '1 hour'
                ORDER BY resent_at
            ) AS recent
        FROM exports
        WHERE {owned} AND id = :id
        FOR UPDATE
    ) AS found
    WHERE seller_id = found_seller_id AND id = found_id
    AND status = 'succeeded' AND expires_at > clock_timestamp()
    AND cardinality(recent) < :limit
    RETURNING {names}
"""


async def resend_email(
    engine: AsyncEngine, export_id: UUID, seller_id: int | None, origin: Origin = UNKNOWN
) -> Export:
    """Make the mail of a succeeded export due again, under a new ``Message-ID``.

    Raises:
        ExportNotFound: there is none, or it is another seller's.
        ExportNotReady: it has no file to mail a link to.
        QuotaExceeded: its mail was sent again three times within an hour.
    """
    owned = "true" if seller_id is None else "seller_id = :seller_id"
    statement = text(RESEND.format(owned=owned, names=EXPORT_NAMES))
    values = {"id": export_id, "limit": RESENDS_PER_HOUR}
    values |= {} if seller_id is None else {"seller_id": seller_id}
    async with transaction(engine) as connection:
        row = (await connection.execute(statement, values)).one_or_none()
        if row is None:
            raise await _refusal(connection, export_id, seller_id)
        export = Export.of(row)
        await record(connection, "resent", export, origin)
    mail_noted("mail requested", export, "pending")
    return export


async def _refusal(
    connection: AsyncConnection, export_id: UUID, seller_id: int | None
) -> ServiceError:
    """Return why the mail is not sent again."""
    export = await find_export_in(connection, export_id, seller_id)
    if export.status != "succeeded":
        return ExportNotReady(f"The export is {export.status}: there is no file to mail.")
    seconds_left = await _seconds_left(connection, export)
    if seconds_left is None:
        return ExportNotReady("The file has expired: there is none to mail.")
    return QuotaExceeded("The mail was sent again three times within an hour.", seconds_left)


async def _seconds_left(connection: AsyncConnection, export: Export) -> int | None:
    """Return when the mail may be sent again; ``None`` where that was not what hindered it."""
    left: int | None = await connection.scalar(
        text("""
            SELECT ceil(extract(epoch FROM min(resent_at) - clock_timestamp()) + :hour_s)::integer
            FROM exports, unnest(email_resent_at) AS resent_at
            WHERE seller_id = :seller_id AND id = :id
            AND resent_at > clock_timestamp() - make_interval(secs => :hour_s)
            HAVING count(*) >= :limit
        """),
        {
            "seller_id": export.seller_id,
            "id": export.id,
            "hour_s": HOUR_S,
            "limit": RESENDS_PER_HOUR,
        },
    )
    return left if left is None else max(1, left)
