"""Leases: claim, renew, succeed, fail, release. Each change is one fenced UPDATE.

An attempt has the lease while the row is ``running`` under the attempt's number. A statement that
finds another number or status changes nothing, and its worker has lost the lease. A statement that
ends an attempt without success adds the number to ``uncleaned_attempts`` at once, so that cleanup
removes what the attempt left outside even if this worker crashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.config import Settings
from app.database.database import Database
from app.database.queue_starts import start_of
from app.errors import LeaseLost, ServiceError
from app.exports.queue.failure_policy import (
    COUNTS_AS_FAILURE,
    WORKER_LOST,
    WORKER_LOST_DETAIL,
    FailurePolicy,
    final_detail,
)
from app.models import EXPORT_COLUMN_LIST, Export, ExportKey
from app.ports import Lane
from app.retry import full_jitter

# Fences every change: without the attempt's number a worker that lost its lease would change the
# row of its successor.
# Not compared with the clock: an expired lease that nobody reclaimed is still this attempt's.
LEASE_HELD = "seller_id = :seller_id AND id = :id AND attempt = :attempt AND status = 'running'"

START_ATTEMPT = """
    UPDATE exports
    SET status = 'running',
        attempt = attempt + 1,
        worker = :worker,
        started_at = clock_timestamp(),
        -- Only once: the time of all attempts together is limited from here, releases included.
        first_started_at = coalesce(first_started_at, clock_timestamp()),
        -- Already here: the real instant is recorded later, by a heartbeat, and a request that
        -- joined after the snapshot would get a file without the latest changes.
        snapshot_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
        -- error_code stays: after errors of a standby, Exporter._source reads from the primary.
        rows_exported = 0
"""

CLAIM = f"""
    {START_ATTEMPT}
    WHERE seller_id = :seller_id AND id = :id
    AND status = 'queued' AND due_at <= statement_timestamp()
    RETURNING {EXPORT_COLUMN_LIST}
"""

CLAIM_NEXT = f"""
    {START_ATTEMPT}
    -- Executed once, because of the equals sign: for IN the planner may choose a join that
    -- repeats the subquery, and so claim more than one.
    WHERE (seller_id, id) = (
        SELECT seller_id, id
        FROM exports
        WHERE lane = :lane AND status = 'queued' AND due_at <= statement_timestamp()
        AND queue_order_at >= {start_of(":lane")}
        ORDER BY queue_order_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING {EXPORT_COLUMN_LIST}
"""

WAITING_LANES = f"""
    SELECT wanted.lane
    FROM unnest(CAST(:lanes AS text[])) AS wanted (lane)
    CROSS JOIN LATERAL (
        SELECT
        FROM exports
        WHERE exports.lane = wanted.lane
        AND status = 'queued' AND due_at <= statement_timestamp()
        AND queue_order_at >= {start_of("wanted.lane")}
        ORDER BY queue_order_at
        LIMIT 1
    ) AS waiting
"""

HEARTBEAT = f"""
    UPDATE exports
    SET rows_exported = :rows,
        -- Before the snapshot the parameter is NULL: stored, it would let requests join again.
        snapshot_at = coalesce(:snapshot_at, snapshot_at),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE {LEASE_HELD}
    RETURNING {EXPORT_COLUMN_LIST}
"""

SUCCEED = f"""
    UPDATE exports
    SET status = 'succeeded',
        finished_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => :lifetime_s),
        snapshot_at = :snapshot_at,
        lease_expires_at = NULL,
        rows_exported = :rows,
        object_key = :object_key,
        file_name = :file_name,
        file_rows = :rows,
        file_refused_addresses = :refused_addresses,
        file_bytes = :bytes,
        file_checksum = :checksum,
        email_status = 'pending',
        email_attempts = :mail_attempts,
        email_due_at = clock_timestamp() + make_interval(secs => :mail_lease_s)
    WHERE {LEASE_HELD}
    RETURNING {EXPORT_COLUMN_LIST}
"""

# The notice of a large list is due from the commit that makes the list a success.
SUCCEED_WITH_NOTICE = f"""
    WITH ended AS ({SUCCEED}),
    notice AS (
        INSERT INTO list_notices (seller_id, export_id)
        SELECT seller_id, id
        FROM ended
        ON CONFLICT DO NOTHING
    )
    SELECT *
    FROM ended
"""

RETRY = f"""
    UPDATE exports
    SET status = 'queued',
        failures = failures + :blamed,
        due_at = clock_timestamp() + make_interval(secs => :delay_s),
        -- As due_at: claims read in this order, and would pass it each time until it is due.
        queue_order_at = clock_timestamp() + make_interval(secs => :delay_s),
        lease_expires_at = NULL,
        error_code = :code,
        error_detail = :detail,
        uncleaned_attempts = array_append(uncleaned_attempts, attempt)
    WHERE {LEASE_HELD}
    RETURNING {EXPORT_COLUMN_LIST}
"""

FAIL = f"""
    UPDATE exports
    SET status = 'failed',
        failures = failures + :blamed,
        finished_at = clock_timestamp(),
        lease_expires_at = NULL,
        error_code = :code,
        error_detail = :detail,
        email_status = 'pending',
        email_due_at = clock_timestamp(),
        uncleaned_attempts = array_append(uncleaned_attempts, attempt)
    WHERE {LEASE_HELD}
    RETURNING {EXPORT_COLUMN_LIST}
"""

# The export returns to its place, which may lie before where claims begin to look by now.
RELEASE = f"""
    WITH released AS (
        UPDATE exports
        SET status = 'queued',
            due_at = clock_timestamp(),
            lease_expires_at = NULL,
            uncleaned_attempts = array_append(uncleaned_attempts, attempt)
        WHERE {LEASE_HELD}
        RETURNING *
    ),
    moved AS (
        UPDATE queue_starts
        SET starts_at = queue_order_at
        FROM released
        WHERE queue = lane AND starts_at > queue_order_at
    )
    SELECT {EXPORT_COLUMN_LIST}
    FROM released AS exports
"""

# Not fenced: the lease is lost. It adds nothing but the attempt's own number, and that once.
ABANDON = f"""
    UPDATE exports
    SET uncleaned_attempts = CASE
        WHEN object_key = :object_key THEN uncleaned_attempts
        ELSE array_append(array_remove(uncleaned_attempts, :attempt), :attempt)
    END
    WHERE seller_id = :seller_id AND id = :id
    RETURNING {EXPORT_COLUMN_LIST}
"""


@dataclass(frozen=True)
class ExportedFile:
    """What an attempt wrote: exact rows (without the header) and bytes.

    ``checksum`` is that of the whole file, with its algorithm: ``crc32c:yZRlqg==``.
    ``refused_addresses`` counts the addresses that common mailing tools refuse.
    """

    object_key: str
    name: str
    rows: int
    bytes: int
    snapshot_at: datetime
    checksum: str
    refused_addresses: int


class LeaseStore:
    """Changes the state of running exports for one worker.

    ``worker`` names the process for operators.
    """

    def __init__(self, database: Database, settings: Settings, worker: str) -> None:
        self._database = database
        self._settings = settings
        self._policy = FailurePolicy(settings)
        self._worker = worker

    async def claim(self, key: ExportKey) -> Export | None:
        """Claim an export; ``None`` where it is not queued and due."""
        return await self._change(
            CLAIM,
            **key._asdict(),
            worker=self._worker,
            lease_s=self._settings.lease_s,
        )

    async def claim_next(self, lane: Lane) -> Export | None:
        """Claim the next export of a lane; ``None`` where none is queued and due.

        One whose row is locked at the moment is skipped.
        """
        return await self._change(
            CLAIM_NEXT, lane=lane, worker=self._worker, lease_s=self._settings.lease_s
        )

    async def waiting_lanes(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Return those of ``lanes`` in which an export is queued and due."""
        rows = await self._database.fetch(WAITING_LANES, lanes=lanes)
        return [row["lane"] for row in rows]

    async def renew(self, export: Export, rows: int, snapshot_at: datetime | None) -> None:
        """Renew the lease and record the progress.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        await self._change_own(
            HEARTBEAT,
            export,
            rows=rows,
            snapshot_at=snapshot_at,
            lease_s=self._settings.lease_s,
        )

    async def succeed(self, export: Export, file: ExportedFile, *, claims_mail: bool) -> Export:
        """Record the file; with ``claims_mail`` this process claims the mail in the same statement.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        notify_above = self._settings.notify_above_rows
        is_large = notify_above is not None and file.rows > notify_above
        return await self._change_own(
            SUCCEED_WITH_NOTICE if is_large else SUCCEED,
            export,
            rows=file.rows,
            refused_addresses=file.refused_addresses,
            bytes=file.bytes,
            checksum=file.checksum,
            object_key=file.object_key,
            file_name=file.name,
            snapshot_at=file.snapshot_at,
            lifetime_s=self._settings.link_lifetime_s,
            mail_attempts=int(claims_mail),
            mail_lease_s=self._settings.mail_lease_s if claims_mail else 0,
        )

    async def fail(self, export: Export, error: ServiceError) -> Export:
        """Record a failure: queued again for later, or failed for good.

        Retries wait with exponential backoff and full jitter; ``FailurePolicy`` decides.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        parameters = {"code": error.code, "blamed": int(isinstance(error, COUNTS_AS_FAILURE))}
        if self._policy.is_final(export, error):
            return await self._change_own(FAIL, export, detail=final_detail(error), **parameters)
        delay_s = full_jitter(
            self._settings.retry_base_s, self._settings.retry_max_s, export.attempt
        )
        return await self._change_own(
            RETRY, export, delay_s=delay_s, detail=str(error), **parameters
        )

    async def release(self, export: Export) -> Export:
        """Return a running export to the queue, because this worker stops.

        One that is overdue fails instead: workers have stopped again and again.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        if self._policy.is_overdue(export):
            return await self._change_own(
                FAIL, export, detail=WORKER_LOST_DETAIL, code=WORKER_LOST, blamed=0
            )
        return await self._change_own(RELEASE, export)

    async def mark_for_cleanup(self, export: Export, object_key: str) -> Export | None:
        """Mark an attempt that lost its lease for cleanup, and return the row.

        Where the row names ``object_key`` the attempt succeeded and only the answer was lost:
        then nothing changes. ``None`` where the row is gone.
        """
        return await self._change(
            ABANDON,
            seller_id=export.seller_id,
            id=export.id,
            attempt=export.attempt,
            object_key=object_key,
        )

    async def _change_own(self, sql: str, export: Export, **values: Any) -> Export:
        changed = await self._change(
            sql, seller_id=export.seller_id, id=export.id, attempt=export.attempt, **values
        )
        if changed is None:
            raise LeaseLost("The export was taken from this worker.")
        return changed

    async def _change(self, sql: str, **values: Any) -> Export | None:
        row = await self._database.fetchrow(sql, **values)
        return None if row is None else Export.from_row(row)
