"""Reading exports: one, a page, or one when it has ended."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from asyncpg import Record
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import transaction
from app.errors import ExportNotFound
from app.models import EXPORT_COLUMNS, EXPORT_NAMES, Export, exports
from app.ports import ExportNews
from app.statements import Lent, Statement

REREAD_S = 1.0
"""How long a waiter trusts the silence of the news, which may be lost."""

NO_SUCH_EXPORT = "There is no such export."

FIND = Statement(f"""
    SELECT {EXPORT_NAMES}
    FROM exports
    WHERE id = :id AND (seller_id = :seller_id OR CAST(:seller_id AS bigint) IS NULL)
""")


async def find_export(engine: AsyncEngine, export_id: UUID, seller_id: int | None) -> Export:
    """Return one export of ``seller_id``; ``None`` stands for any seller.

    Raises:
        ExportNotFound: there is none, or it is another seller's.
    """
    return _found(await FIND.row(engine, id=export_id, seller_id=seller_id))


async def find_export_on(lent: Lent, export_id: UUID, seller_id: int | None) -> Export:
    """Return one export within a transaction that is lent; see :func:`find_export`."""
    return _found(await FIND.row_on(*lent, id=export_id, seller_id=seller_id))


async def find_export_in(
    connection: AsyncConnection, export_id: UUID, seller_id: int | None
) -> Export:
    """Return one export within a transaction; see :func:`find_export`."""
    rows = await connection.execute(
        select(*EXPORT_COLUMNS).where(exports.c.id == export_id, _of(seller_id))
    )
    row = rows.one_or_none()
    if row is None:
        raise ExportNotFound(NO_SUCH_EXPORT)
    return Export.of(row)


async def list_exports(
    engine: AsyncEngine,
    *,
    seller_id: int | None,
    status: str | None,
    limit: int,
    before: UUID | None,
) -> list[Export]:
    """Return exports, newest first (their ids are UUIDv7, which sort by time).

    ``before`` is the last id of the page before.
    """
    query = select(*EXPORT_COLUMNS).where(_of(seller_id)).order_by(exports.c.id.desc())
    if status is not None:
        query = query.where(exports.c.status == status)
    if before is not None:
        query = query.where(exports.c.id < before)
    async with transaction(engine) as connection:
        rows = await connection.execute(query.limit(limit))
        return [Export.of(row) for row in rows]


async def wait_until_finished(
    engine: AsyncEngine, news: ExportNews, export: Export, timeout_s: float
) -> Export:
    """Return the export as soon as it is finished, or as it is after ``timeout_s``."""
    if not export.is_active or timeout_s <= 0:
        return export
    latest = export
    async with news.listen(export.id) as changes:
        try:
            async with asyncio.timeout(timeout_s):
                while latest.is_active:
                    latest = await find_export(engine, export.id, export.seller_id)
                    if latest.is_active:
                        await next_or_timeout(changes, REREAD_S)
        except TimeoutError:
            pass
    return latest


async def next_or_timeout(changes: AsyncIterator[None], timeout_s: float) -> None:
    """Wait for news, or for ``timeout_s``, after which they may have been lost."""
    try:
        async with asyncio.timeout(timeout_s):
            await anext(changes)
    except TimeoutError:
        return


def _found(record: Record | None) -> Export:
    if record is None:
        raise ExportNotFound(NO_SUCH_EXPORT)
    return Export.of_record(record)


def _of(seller_id: int | None) -> ColumnElement[bool]:
    return (
        exports.c.seller_id.isnot(None) if seller_id is None else exports.c.seller_id == seller_id
    )
