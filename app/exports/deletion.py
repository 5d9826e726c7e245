"""Cancelling an export that is under way, erasing one that is done."""

import asyncio
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import transaction
from app.errors import ServiceError
from app.exports.audit import UNKNOWN, Origin, record
from app.exports.counting import count_end
from app.exports.journal import mail_noted, names, noted
from app.exports.queries import find_export_in
from app.exports.residue import Residue
from app.metrics import Metrics
from app.models import EXPORT_NAMES, Action, Export

log = structlog.get_logger()

CLEAR_TIMEOUT_S = 2.0
"""The caller waits no longer for a store that hangs: the sweep erases the file."""

DELETE = """
    UPDATE exports
    SET status = CASE
            WHEN status IN ('queued', 'running') THEN 'cancelled'
            WHEN status = 'succeeded' THEN 'deleted'
            ELSE status
        END,
        finished_at = coalesce(finished_at, clock_timestamp()),
        lease_expires_at = NULL,
        residue = CASE
            WHEN status IN ('running', 'succeeded') THEN array_append(residue, attempt)
            ELSE residue
        END,
        email_status = nullif(email_status, 'pending'),
        email_due_at = NULL
    WHERE {owned} AND id = :id
    AND (status IN ('queued', 'running', 'succeeded') OR email_status = 'pending')
    RETURNING {names}
"""

AUDITED: dict[str, Action] = {"cancelled": "cancelled", "deleted": "erased"}


async def delete_export(
    engine: AsyncEngine,
    residue: Residue,
    export_id: UUID,
    seller_id: int | None,
    origin: Origin = UNKNOWN,
    metrics: Metrics | None = None,
) -> Export:
    """Cancel an active export, or erase the file of one that succeeded.

    The row is final at once: whoever works on the export has lost it, its
    links are dead and a mail not yet sent is withdrawn. A file is erased and a
    running COPY is ended on its server before this returns; where that fails,
    and for what else an attempt may leave, the sweep clears up within seconds.
    Ended otherwise, an export stays as it is. ``seller_id`` ``None`` stands
    for any seller.

    Raises:
        ExportNotFound: there is none, or it is another seller's.
    """
    owned = "true" if seller_id is None else "seller_id = :seller_id"
    statement = text(DELETE.format(owned=owned, names=EXPORT_NAMES))
    values = {"id": export_id} | ({} if seller_id is None else {"seller_id": seller_id})
    async with transaction(engine) as connection:
        row = (await connection.execute(statement, values)).one_or_none()
        if row is None:
            return await find_export_in(connection, export_id, seller_id)
        export = Export.of(row)
        if action := AUDITED.get(export.status):
            await record(connection, action, export, origin)
    if action:
        noted(f"export {export.status}", export)
    else:
        mail_noted("mail withdrawn", export, None)
    if action == "cancelled" and metrics is not None:
        count_end(metrics, export)
    try:
        async with asyncio.timeout(CLEAR_TIMEOUT_S):
            await _clear(residue, export)
    except (ServiceError, TimeoutError) as error:
        log.warning("residue left to the sweep", **names(export), error=type(error).__name__)
    return export


async def _clear(residue: Residue, export: Export) -> None:
    if export.status == "deleted":
        await residue.clear(export.seller_id, export.id, export.attempt, export.object_key)
    elif export.status == "cancelled":
        await residue.stop(export)
