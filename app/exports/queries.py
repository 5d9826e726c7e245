"""Read exports: one, a page, or one as soon as it is finished."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from app.database.database import Queryable
from app.errors import ExportNotFound
from app.models import EXPORT_COLUMN_LIST, Export
from app.ports import ExportEvents

REREAD_S = 1.0
"""How often a waiting request reads the row again, since notifications may be lost."""

NO_SUCH_EXPORT = "There is no such export."

FIND = f"""
    SELECT {EXPORT_COLUMN_LIST}
    FROM exports
    WHERE id = :id AND (seller_id = :seller_id OR CAST(:seller_id AS bigint) IS NULL)
"""

# Its conditions and order are filled in by the filters of a request.
LIST = f"""
    SELECT {EXPORT_COLUMN_LIST}
    FROM exports
    WHERE {{where}}
    ORDER BY {{order}}
    LIMIT :limit
"""


async def find_export(database: Queryable, export_id: UUID, seller_id: int | None) -> Export:
    """Return one export of ``seller_id``; ``None`` stands for any seller.

    Raises:
        ExportNotFound: there is no such export, or it is another seller's.
        DatabaseUnavailable: try again.
    """
    row = await database.fetchrow(FIND, id=export_id, seller_id=seller_id)
    if row is None:
        raise ExportNotFound(NO_SUCH_EXPORT)
    return Export.from_row(row)


async def list_exports(
    database: Queryable,
    *,
    seller_id: int | None,
    status: str | None,
    limit: int,
    before: UUID | None,
) -> list[Export]:
    """Return a page of exports, newest first (their ids are UUIDv7, which sort by time).

    Parameters:
        seller_id: Only this seller's; ``None`` for all.
        status: Only exports in this state; ``None`` for all.
        limit: The page's maximum length.
        before: The last id of the previous page; ``None`` for the first page.
    """
    conditions, order = _filters(seller_id, status)
    if before is not None:
        conditions.append("id < :before")
    sql = LIST.format(where=" AND ".join(conditions) or "true", order=order)
    rows = await database.fetch(sql, seller_id=seller_id, status=status, before=before, limit=limit)
    return [Export.from_row(row) for row in rows]


def _filters(seller_id: int | None, status: str | None) -> tuple[list[str], str]:
    """Return the conditions of a list, and the order of the index that serves them.

    BETWEEN instead of ``=``: with ``=`` the planner drops the column from ORDER BY, and may
    then scan all exports by id to find a state that few of them have, or a seller's none.
    """
    if seller_id is not None:
        conditions = ["seller_id BETWEEN :seller_id AND :seller_id"]
        if status is not None:
            conditions.append("status = :status")
        return conditions, "seller_id DESC, id DESC"
    if status is not None:
        return ["status BETWEEN :status AND :status"], "status DESC, id DESC"
    return [], "id DESC"


async def wait_until_finished(
    database: Queryable, export_events: ExportEvents, export: Export, timeout_s: float
) -> Export:
    """Return the export as soon as it is finished, or as it is after ``timeout_s`` seconds.

    Raises:
        ExportNotFound: it was deleted meanwhile.
        DatabaseUnavailable: try again.
    """
    if not export.is_active or timeout_s <= 0:
        return export
    latest = export
    async with export_events.subscribe(export.id) as changes:
        try:
            async with asyncio.timeout(timeout_s):
                # Read after the subscription: a change in between would not be notified of.
                while latest.is_active:
                    latest = await find_export(database, export.id, export.seller_id)
                    if latest.is_active:
                        await wait_for_change(changes, REREAD_S)
        except TimeoutError:
            pass
    return latest


async def wait_for_change(changes: AsyncIterator[None], timeout_s: float) -> None:
    """Wait for a notification, for ``timeout_s`` seconds at most: it may have been lost."""
    try:
        async with asyncio.timeout(timeout_s):
            await anext(changes)
    except TimeoutError:
        return
