"""Expiry: files are deleted after the link's lifetime, rows 30 days later."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import structlog

from app.database.batches import delete_oldest
from app.database.database import Database
from app.errors import ServiceError, StorageUnavailable
from app.exports.audit import NO_CONTEXT, record
from app.exports.log_events import export_log_context, log_mail_event, log_transition
from app.exports.metrics import record_mail_outcome
from app.exports.notifications import publish_change
from app.models import EXPORT_COLUMN_LIST, Export
from app.observability.limited_warnings import LimitedWarnings
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected
from app.ports import ExportEvents, ObjectStorage
from app.statistics.rollup import ROLL_UP_AND_DELETE

log = structlog.get_logger()

BATCH = 200
MAX_CONCURRENT_DELETES = 8

DELETE_TIMEOUT_S = 30.0
"""One file that the store is slow about delays the others of its batch by this much at most."""

SELECT_EXPIRED = f"""
    SELECT {EXPORT_COLUMN_LIST}
    FROM exports
    WHERE status = 'succeeded' AND deletion_requested_at IS NULL
    AND expires_at <= statement_timestamp()
    AND (expires_at, id) > (:after_at, :after_id)
    ORDER BY expires_at, id
    LIMIT :batch
"""

BEFORE_ALL = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

# No condition on the time: the clock may have been set back since the file was deleted.
EXPIRE = f"""
    UPDATE exports
    SET status = 'expired',
        object_key = NULL,
        email_status = CASE email_status WHEN 'pending' THEN 'failed' ELSE email_status END,
        email_due_at = NULL
    WHERE seller_id = :seller_id AND id = :id
    AND status = 'succeeded' AND deletion_requested_at IS NULL
    RETURNING {EXPORT_COLUMN_LIST}
"""

DELETE_OLD_KEYS = delete_oldest(
    "idempotency_keys", "created_at < statement_timestamp() - interval '24 hours'", "created_at"
)

DELETE_OLD_NOTICES = delete_oldest(
    "list_notices", "created_at < statement_timestamp() - interval '30 days'", "created_at"
)


class ExpirationTask:
    """Periodic tasks: delete expired files, then old rows and idempotency keys."""

    def __init__(
        self,
        database: Database,
        storage: ObjectStorage,
        export_events: ExportEvents,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._storage = storage
        self._export_events = export_events
        self._metrics = metrics or Metrics()
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_DELETES)
        self._after = BEFORE_ALL
        self._warnings = LimitedWarnings("file expiry failed")

    async def expire_files(self) -> int:
        """Delete expired files, then record it; return how many were due.

        Each batch continues after the one before, so that files that cannot be deleted do not
        block the others. A mail that is still pending has failed.

        Raises:
            DatabaseUnavailable: what is left is done the next time.
        """
        count = 0
        while due := await self._due():
            count += len(due)
            outcomes = await asyncio.gather(*map(self._expire_in_turn, due))
            # After a failure the rest waits for the next run: while the store hangs, each file
            # would take its whole timeout.
            if len(due) < BATCH or not all(outcomes):
                break
        return count

    async def prune(self) -> None:
        """Drop rows and notices 30 days after their end, and idempotency keys after a day."""
        for delete in (ROLL_UP_AND_DELETE, DELETE_OLD_KEYS, DELETE_OLD_NOTICES):
            while await self._database.execute(delete, batch=BATCH) == BATCH:
                log.info("old rows deleted", rows=BATCH)

    async def _expire_in_turn(self, export: Export) -> bool:
        async with self._turns:
            with export_log_context(export):
                return await self._try_to_expire(export)

    async def _try_to_expire(self, export: Export) -> bool:
        try:
            await self._expire(export)
        except ServiceError as error:
            self._warnings.log(error)
            return False
        except Exception:  # one row must not block the others
            report_unexpected(self._metrics, "expiry")
            return False
        return True

    async def _expire(self, export: Export) -> None:
        if export.object_key is not None:
            # Before the commit: the row names the object until the store says that it is gone.
            await self._delete(export.object_key)
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(EXPIRE, seller_id=export.seller_id, id=export.id)
            if row is None:
                return  # another worker expired it, or it was deleted
            expired = Export.from_row(row)
            # In the transaction of the change, so that of several workers one makes the entry.
            await record(tx, "expired", expired, NO_CONTEXT)
        log_transition("export expired", expired)
        if export.email_status == "pending" and expired.email_status == "failed":
            log_mail_event("mail failed", expired, "failed", error="export_expired")
            record_mail_outcome(self._metrics, expired, "given_up")
        await publish_change(self._export_events, export)

    async def _delete(self, key: str) -> None:
        try:
            async with asyncio.timeout(DELETE_TIMEOUT_S):
                await self._storage.delete(key)
        except TimeoutError as error:
            raise StorageUnavailable("The file storage took too long to delete a file.") from error

    async def _due(self) -> list[Export]:
        after_at, after_id = self._after
        rows = await self._database.fetch(
            SELECT_EXPIRED, after_at=after_at, after_id=after_id, batch=BATCH
        )
        is_full = len(rows) == BATCH
        self._after = (rows[-1]["expires_at"], rows[-1]["id"]) if is_full else BEFORE_ALL
        return [Export.from_row(row) for row in rows]
