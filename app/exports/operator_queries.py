"""What operators ask about exports: a filtered list, and everything about one export."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.database.database import Queryable
from app.exports.audit import AuditEntry, list_entries
from app.exports.queries import find_export
from app.models import EXPORT_COLUMN_LIST, Export

AUDIT_SHOWN = 50

# By hand and seldom: newest first, by the index of the ids.
WANTED = """
    (status = :status OR CAST(:status AS text) IS NULL)
    AND (error_code = :code OR CAST(:code AS text) IS NULL)
    AND (seller_id = :seller_id OR CAST(:seller_id AS bigint) IS NULL)
    AND (
        coalesce(finished_at, created_at)
            > statement_timestamp() - make_interval(secs => CAST(:since_s AS double precision))
        OR CAST(:since_s AS double precision) IS NULL
    )
"""

SEARCH = f"""
    SELECT {EXPORT_COLUMN_LIST}
    FROM exports
    WHERE {WANTED}
    ORDER BY id DESC
    LIMIT :limit
"""

SEARCH_IDS = f"SELECT id FROM exports WHERE {WANTED} ORDER BY id"

SELECT_WORK = """
    SELECT
        worker, lane, lease_expires_at, queue_order_at, retried_at, requested_by, service,
        email_due_at, uncleaned_attempts
    FROM exports
    WHERE seller_id = :seller_id AND id = :id
"""

SELECT_DELIVERIES = """
    SELECT
        service, body::json ->> 'type' AS event, status, attempts, due_at, delivered_at, last_error
    FROM webhook_deliveries
    WHERE seller_id = :seller_id AND export_id = :id
    ORDER BY id
"""

SELECT_NOTICE = """
    SELECT status, attempts, due_at, sent_at, error
    FROM list_notices
    WHERE seller_id = :seller_id AND export_id = :id
"""


@dataclass(frozen=True)
class ExportFilter:
    """Which exports an operator asks for; ``None`` filters nothing.

    Attributes:
        code: the error code, of failed exports and of those that wait for a retry.
        since_s: ended at most this many seconds ago; where not ended, requested.
    """

    status: str | None = None
    code: str | None = None
    seller_id: int | None = None
    since_s: float | None = None


@dataclass(frozen=True)
class PendingWork:
    """Who works on an export, and how it waits; what the API does not show."""

    worker: str | None
    lane: str
    lease_expires_at: datetime | None
    queue_order_at: datetime
    retried_at: datetime | None
    requested_by: str | None
    service: str | None
    email_due_at: datetime | None
    uncleaned_attempts: list[int]


@dataclass(frozen=True)
class Delivery:
    """A webhook call about an export, and the last error of the service's answer."""

    service: str
    event: str
    status: str
    attempts: int
    due_at: datetime
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class Notice:
    """The notice of a large list, and why it has not been sent."""

    status: str
    attempts: int
    due_at: datetime
    sent_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class ExportDetails:
    """Everything about one export; ``audit`` has the newest entries first.

    ``notice`` is ``None`` where the list was not larger than ``NOTIFY_ABOVE_ROWS``.
    """

    export: Export
    work: PendingWork
    notice: Notice | None
    deliveries: list[Delivery]
    audit: list[AuditEntry]


async def search_exports(database: Queryable, wanted: ExportFilter, limit: int) -> list[Export]:
    """Return exports of all sellers, newest first."""
    rows = await database.fetch(SEARCH, **vars(wanted), limit=limit)
    return [Export.from_row(row) for row in rows]


async def search_ids(database: Queryable, wanted: ExportFilter) -> list[UUID]:
    """Return the ids of exports of all sellers, however many, oldest first."""
    rows = await database.fetch(SEARCH_IDS, **vars(wanted))
    return [row["id"] for row in rows]


async def export_details(database: Queryable, export_id: UUID) -> ExportDetails:
    """Return everything about an export.

    Raises:
        ExportNotFound: there is none; its row is deleted 30 days after its end.
    """
    export = await find_export(database, export_id, None)
    [work] = await database.fetch(SELECT_WORK, **export.key._asdict())
    deliveries = await database.fetch(SELECT_DELIVERIES, **export.key._asdict())
    notice = await database.fetchrow(SELECT_NOTICE, **export.key._asdict())
    return ExportDetails(
        export=export,
        work=PendingWork(**work),
        notice=None if notice is None else Notice(**notice),
        deliveries=[Delivery(**each) for each in deliveries],
        audit=await list_entries(database, export_id, limit=AUDIT_SHOWN, before=None),
    )
