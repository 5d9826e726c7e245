"""The sweep: whatever died, every export goes on and nothing stays behind.

Every worker sweeps. Each step is one statement, or bears being done twice at
once, so that workers need no lock among themselves that one could freeze on.
"""

import asyncio
from typing import Any
from uuid import UUID

import structlog
from asyncpg import Record
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.errors import StorageRefused
from app.exports.counting import count_end
from app.exports.journal import in_the_name_of, noted
from app.exports.lanes import LANES
from app.exports.residue import Residue
from app.exports.telling import ring, tell
from app.metrics import Metrics
from app.models import EXPORT_NAMES, Export
from app.ports import ExportNews, ExportQueue, Lane
from app.statements import Statement

log = structlog.get_logger()

BATCH = 500

LOST = (
    "The workers that made the file stopped again and again. "
    "Please tell the operator of this service."
)

TAKE_BACK = Statement(f"""
    UPDATE exports
    SET status = CASE WHEN is_last THEN 'failed' ELSE 'queued' END,
        failures = failures + 1,
        due_at = clock_timestamp(),
        finished_at = CASE WHEN is_last THEN clock_timestamp() END,
        lease_expires_at = NULL,
        residue = array_append(residue, attempt),
        error_code = 'worker_lost',
        error_detail = :lost,
        email_status = CASE WHEN is_last THEN 'pending' END,
        email_due_at = CASE WHEN is_last THEN clock_timestamp() END
    FROM (
        SELECT
            seller_id AS lost_seller_id,
            id AS lost_id,
            failures + 1 >= :max_failures AS is_last
        FROM exports
        WHERE status = 'running' AND lease_expires_at < clock_timestamp()
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    ) AS lost
    WHERE seller_id = lost_seller_id AND id = lost_id
    RETURNING {EXPORT_NAMES}
""")

WAITING = Statement("""
    SELECT
        seller_id,
        id,
        attempt,
        due_at < clock_timestamp() - make_interval(secs => :ring_again_s) AS is_overdue
    FROM exports
    WHERE lane = :lane AND status = 'queued' AND due_at <= clock_timestamp()
    ORDER BY turn_at
    LIMIT :batch
""")

LEFT_BEHIND = Statement("""
    SELECT seller_id, id, residue, CASE WHEN status = 'deleted' THEN object_key END AS file_key
    FROM exports
    WHERE cardinality(residue) > 0
    ORDER BY random()
    LIMIT :batch
""")


class Sweep:
    """Takes back lost leases, rings for what waits, clears what was left.

    Every method raises ``DatabaseUnavailable`` with the database away, and
    what it did not do is done the next time.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        queue: ExportQueue,
        news: ExportNews,
        residue: Residue,
        settings: Settings,
        metrics: Metrics | None = None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._news = news
        self._residue = residue
        self._settings = settings
        self._metrics = metrics or Metrics()

    async def take_back(self) -> list[Export]:
        """Take exports from workers whose lease has expired.

        They are queued again, or have failed when that happened too often.
        """
        lost = await self._rows(TAKE_BACK, max_failures=self._settings.max_failures, lost=LOST)
        exports = [Export.of_record(row) for row in lost]
        for export in exports:
            self._count(export)
            with in_the_name_of(export):
                event = "lease taken back" if export.is_active else "export failed"
                noted(event, export, error=export.error_code)
        await asyncio.gather(*map(self._announce, exports))
        return exports

    def _count(self, export: Export) -> None:
        self._metrics.leases_lost.inc()
        if export.is_active:
            self._metrics.retries.labels(export.error_code).inc()
        else:
            count_end(self._metrics, export)

    async def _announce(self, export: Export) -> None:
        await tell(self._news, export)
        if export.is_active:
            await ring(self._queue, export)

    async def ring_for_waiting(self) -> int:
        """Ring for exports that are queued and due; return how many there are.

        A bell that is on the queue already is not doubled. One that rang a
        lease ago, and was not followed, counts as heard by a worker that died.

        Raises:
            QueueUnavailable: Redis is away.
        """
        return sum([await self._ring_in(lane) for lane in LANES])

    async def _ring_in(self, lane: Lane) -> int:
        waiting = await self._rows(WAITING, lane=lane, ring_again_s=self._settings.lease_s)
        for row in waiting:
            ring = self._queue.ring_again if row["is_overdue"] else self._queue.ring
            await ring(row["seller_id"], row["id"], row["attempt"], lane)
        return len(waiting)

    async def clear_residue(self) -> int:
        """Clear what fenced attempts left outside; return how many exports had some.

        In any order, so that what cannot be cleared holds up nothing else.

        Raises:
            StorageUnavailable: the store is away.
        """
        left = await self._rows(LEFT_BEHIND)
        for row in left:
            for attempt in row["residue"]:
                await self._clear(row["seller_id"], row["id"], attempt, row["file_key"])
        return len(left)

    async def _clear(
        self, seller_id: int, export_id: UUID, attempt: int, file_key: str | None
    ) -> None:
        try:
            await self._residue.clear(seller_id, export_id, attempt, file_key)
        except StorageRefused as error:
            log.warning(
                "residue stays",
                export_id=str(export_id),
                seller_id=seller_id,
                attempt=attempt,
                error=error.code,
                why=str(error),
            )

    async def _rows(self, statement: Statement, **values: Any) -> list[Record]:
        return await statement.rows(self._engine, batch=BATCH, **values)
