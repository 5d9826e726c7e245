"""Sending an export's mail again."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import transaction
from app.errors import ExportNotReady, QuotaExceeded
from app.exports.audit import UNKNOWN, Origin, record
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
        if row is not None:
            export = Export.of(row)
            await record(connection, "resent", export, origin)
            return export
        export = await find_export_in(connection, export_id, seller_id)
        if export.status != "succeeded":
            raise ExportNotReady(f"The export has {export.status}; there is no file to mail.")
        raise QuotaExceeded(
            "The mail was sent again three times within an hour.",
            await _seconds_left(connection, export),
        )


async def _seconds_left(connection: AsyncConnection, export: Export) -> int:
    oldest: datetime = await connection.scalar(
        text("""
            SELECT min(resent_at)
            FROM exports, unnest(email_resent_at) AS resent_at
            WHERE seller_id = :seller_id AND id = :id
            AND resent_at > clock_timestamp() - interval '1 hour'
        """),
        {"seller_id": export.seller_id, "id": export.id},
    )
    passed_s = (datetime.now(UTC) - (oldest or datetime.now(UTC))).total_seconds()
    return max(1, HOUR_S - int(passed_s))
