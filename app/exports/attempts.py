"""The life of an attempt: claim, heartbeat, end. Every change is one guarded UPDATE.

An attempt owns its export while the row is ``running`` under the attempt's
number. A statement that finds the row otherwise changes nothing, and its
worker has lost the lease. Whatever ends an attempt without success notes its
number in ``residue`` in the same statement, so that what it may have left
outside is cleared whoever dies.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.errors import FinalError, LeaseLost, ObjectMissing, ServiceError, Unexpected
from app.exports.insistence import full_jitter
from app.models import EXPORT_NAMES, Export
from app.ports import Lane
from app.statements import Statement

BLAMED = (Unexpected, ObjectMissing)
"""What no outage explains: a mistake of ours, or an upload that somebody else removed."""

OWNED = "seller_id = :seller_id AND id = :id AND attempt = :attempt AND status = 'running'"

TAKE = """
    UPDATE exports
    SET status = 'running',
        attempt = attempt + 1,
        worker = :worker,
        started_at = clock_timestamp(),
        snapshot_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
        rows_exported = 0
"""

CLAIM = Statement(f"""
    {TAKE}
    WHERE seller_id = :seller_id AND id = :id
    AND status = 'queued' AND due_at <= clock_timestamp()
    RETURNING {EXPORT_NAMES}
""")

CLAIM_NEXT = Statement(f"""
    {TAKE}
    WHERE (seller_id, id) = (
        SELECT seller_id, id
        FROM exports
        WHERE lane = :lane AND status = 'queued' AND due_at <= clock_timestamp()
        ORDER BY turn_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING {EXPORT_NAMES}
""")

HEARTBEAT = Statement(f"""
    UPDATE exports
    SET rows_exported = :rows,
        snapshot_at = coalesce(:snapshot_at, snapshot_at),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE {OWNED}
    RETURNING {EXPORT_NAMES}
""")

SUCCEED = Statement(f"""
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
        file_bytes = :bytes,
        email_status = 'pending',
        email_attempts = :mail_attempts,
        email_due_at = clock_timestamp() + make_interval(secs => :mail_hold_s)
    WHERE {OWNED}
    RETURNING {EXPORT_NAMES}
""")

RETRY = Statement(f"""
    UPDATE exports
    SET status = 'queued',
        failures = failures + :blamed,
        due_at = clock_timestamp() + make_interval(secs => :delay_s),
        turn_at = clock_timestamp() + make_interval(secs => :delay_s),
        lease_expires_at = NULL,
        error_code = :code,
        error_detail = :detail,
        residue = array_append(residue, attempt)
    WHERE {OWNED}
    RETURNING {EXPORT_NAMES}
""")

FAIL = Statement(f"""
    UPDATE exports
    SET status = 'failed',
        failures = failures + :blamed,
        finished_at = clock_timestamp(),
        lease_expires_at = NULL,
        error_code = :code,
        error_detail = :detail,
        email_status = 'pending',
        email_due_at = clock_timestamp(),
        residue = array_append(residue, attempt)
    WHERE {OWNED}
    RETURNING {EXPORT_NAMES}
""")

HAND_BACK = Statement(f"""
    UPDATE exports
    SET status = 'queued',
        due_at = clock_timestamp(),
        lease_expires_at = NULL,
        residue = array_append(residue, attempt)
    WHERE {OWNED}
    RETURNING {EXPORT_NAMES}
""")

DISOWN = Statement(f"""
    UPDATE exports
    SET residue = CASE
        WHEN object_key = :object_key THEN residue
        ELSE array_append(array_remove(residue, :attempt), :attempt)
    END
    WHERE seller_id = :seller_id AND id = :id
    RETURNING {EXPORT_NAMES}
""")


@dataclass(frozen=True)
class ExportedFile:
    """What an attempt wrote: exact rows (without the header) and bytes."""

    object_key: str
    name: str
    rows: int
    bytes: int
    snapshot_at: datetime


class Attempts:
    """Changes the state of running exports for one worker.

    ``worker`` names the process for operators.
    """

    def __init__(self, engine: AsyncEngine, settings: Settings, worker: str) -> None:
        self._engine = engine
        self._settings = settings
        self._worker = worker

    async def claim(self, seller_id: int, export_id: UUID) -> Export | None:
        """Take a queued export that is due; ``None`` when it is not ours to take."""
        return await self._change(
            CLAIM,
            seller_id=seller_id,
            id=export_id,
            worker=self._worker,
            lease_s=self._settings.lease_s,
        )

    async def claim_next(self, lane: Lane) -> Export | None:
        """Take the export whose turn it is in a lane; ``None`` when none waits there.

        One that somebody else has locked just now is passed over.
        """
        return await self._change(
            CLAIM_NEXT, lane=lane, worker=self._worker, lease_s=self._settings.lease_s
        )

    async def renew(self, export: Export, rows: int, snapshot_at: datetime | None) -> None:
        """Prolong the lease and record the progress.

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

    async def succeed(self, export: Export, file: ExportedFile, *, holds_mail: bool) -> Export:
        """Record the file; its mail is due, or held by this process, which then sends it.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        return await self._change_own(
            SUCCEED,
            export,
            rows=file.rows,
            bytes=file.bytes,
            object_key=file.object_key,
            file_name=file.name,
            snapshot_at=file.snapshot_at,
            lifetime_s=self._settings.link_lifetime_s,
            mail_attempts=int(holds_mail),
            mail_hold_s=self._settings.mail_lease_s if holds_mail else 0,
        )

    async def fail(self, export: Export, error: ServiceError) -> Export:
        """Record a failure: queued again for later, or failed for good.

        Temporary errors are tried again, with exponential backoff and full
        jitter, until the export is ``retry_for_s`` old and has had
        ``max_failures`` attempts; those that no outage explains count, with
        lost workers, up to ``max_failures`` in all. Others are final.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        facts = {"code": error.code, "blamed": int(isinstance(error, BLAMED))}
        if self._is_final(export, error):
            return await self._change_own(FAIL, export, detail=f"{error} {advice(error)}", **facts)
        delay_s = full_jitter(
            self._settings.retry_base_s, self._settings.retry_max_s, export.attempt
        )
        return await self._change_own(RETRY, export, delay_s=delay_s, detail=str(error), **facts)

    async def hand_back(self, export: Export) -> Export:
        """Give a running export back to the queue, because this worker stops.

        Raises:
            LeaseLost: the export is no longer this attempt's.
        """
        return await self._change_own(HAND_BACK, export)

    async def disown(self, export: Export, object_key: str) -> Export | None:
        """Have cleared up what a lost attempt may have left, and return the row.

        Unless the row says that the attempt succeeded with ``object_key``:
        then only the answer was lost, and nothing changes. ``None`` where the
        row is gone.
        """
        return await self._change(
            DISOWN,
            seller_id=export.seller_id,
            id=export.id,
            attempt=export.attempt,
            object_key=object_key,
        )

    def _is_final(self, export: Export, error: ServiceError) -> bool:
        if isinstance(error, BLAMED):
            return export.failures + 1 >= self._settings.max_failures
        if isinstance(error, FinalError):
            return True
        age_s = (datetime.now(UTC) - export.created_at).total_seconds()
        is_old = age_s >= self._settings.retry_for_s
        return is_old and export.attempt >= self._settings.max_failures

    async def _change_own(self, statement: Statement, export: Export, **values: Any) -> Export:
        changed = await self._change(
            statement, seller_id=export.seller_id, id=export.id, attempt=export.attempt, **values
        )
        if changed is None:
            raise LeaseLost("The export was taken from this worker.")
        return changed

    async def _change(self, statement: Statement, **values: Any) -> Export | None:
        row = await statement.row(self._engine, **values)
        return None if row is None else Export.of_record(row)


def advice(error: ServiceError) -> str:
    """Return what to do about an error that ended an export."""
    if isinstance(error, FinalError):
        return "Only the operator of this service can change that; until then it will fail again."
    return "It was tried many times; please ask for the export again later."
