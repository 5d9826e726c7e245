"""The end of files and rows: expiry after the link's lifetime, oblivion a month later."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import transaction
from app.errors import ServiceError, StorageUnavailable
from app.exports.audit import UNKNOWN, record
from app.exports.counting import count_mail
from app.exports.journal import in_the_name_of, mail_noted, names, noted
from app.exports.rollup import forget_exports
from app.exports.telling import tell
from app.metrics import Metrics
from app.models import EXPORT_NAMES, Export
from app.ports import ExportNews, ObjectStorage

log = structlog.get_logger()

BATCH = 200
AT_ONCE = 8

DUE = f"""
    SELECT {EXPORT_NAMES}
    FROM exports
    WHERE status = 'succeeded' AND expires_at <= clock_timestamp()
    ORDER BY random()
    LIMIT :batch
"""

EXPIRE = f"""
    UPDATE exports
    SET status = 'expired',
        object_key = NULL,
        email_status = CASE email_status WHEN 'pending' THEN 'failed' ELSE email_status END,
        email_due_at = NULL
    WHERE seller_id = :seller_id AND id = :id
    AND status = 'succeeded' AND expires_at <= clock_timestamp()
    RETURNING {EXPORT_NAMES}
"""

FORGET_KEYS = """
    DELETE FROM idempotency_keys
    WHERE (seller_id, key) IN (
        SELECT seller_id, key
        FROM idempotency_keys
        WHERE created_at < clock_timestamp() - interval '24 hours'
        LIMIT :batch
    )
"""


class Expiry:
    """Expires files whose time is over and forgets what is long past."""

    def __init__(
        self,
        engine: AsyncEngine,
        storage: ObjectStorage,
        news: ExportNews,
        metrics: Metrics | None = None,
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._news = news
        self._metrics = metrics or Metrics()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def expire_files(self) -> int:
        """Erase due files, see that they are gone, then say so; return how many were due.

        In any order, so that a file that cannot be erased holds up no other.
        A mail that could not be sent before has failed.

        Raises:
            DatabaseUnavailable: what is left is done the next time.
        """
        count = 0
        while due := await self._due():
            count += len(due)
            outcomes = await asyncio.gather(*map(self._expire_in_turn, due))
            if len(due) < BATCH or not all(outcomes):
                break
        return count

    async def forget(self) -> None:
        """Drop rows 30 days after their end, and idempotency keys after a day."""
        for forget in (forget_exports, _forget_keys):
            while await self._forgotten(forget) == BATCH:
                log.info("forgotten", rows=BATCH)

    async def _expire_in_turn(self, export: Export) -> bool:
        async with self._turns:
            try:
                await self._expire(export)
            except ServiceError as error:
                log.warning(
                    "file not expired yet", **names(export), error=error.code, why=str(error)
                )
                return False
        return True

    async def _expire(self, export: Export) -> None:
        if export.object_key is not None:
            await self._storage.delete(export.object_key)
            if await self._storage.head(export.object_key) is not None:
                raise StorageUnavailable("The file is still there after it was deleted.")
        async with transaction(self._engine) as connection:
            values = {"seller_id": export.seller_id, "id": export.id}
            row = (await connection.execute(text(EXPIRE), values)).one_or_none()
            if row is None:
                return  # somebody else was first
            expired = Export.of(row)
            await record(connection, "expired", expired, UNKNOWN)
        with in_the_name_of(expired):
            noted("export expired", expired)
            if export.email_status == "pending" and expired.email_status == "failed":
                mail_noted("mail failed", expired, "failed", error="export_expired")
                count_mail(self._metrics, expired, "given_up")
        await tell(self._news, export)

    async def _due(self) -> list[Export]:
        async with transaction(self._engine) as connection:
            rows = await connection.execute(text(DUE), {"batch": BATCH})
            return [Export.of(row) for row in rows]

    async def _forgotten(self, forget: Callable[[AsyncConnection, int], Awaitable[int]]) -> int:
        async with transaction(self._engine) as connection:
            return await forget(connection, BATCH)


async def _forget_keys(connection: AsyncConnection, batch: int) -> int:
    return (await connection.execute(text(FORGET_KEYS), {"batch": batch})).rowcount
