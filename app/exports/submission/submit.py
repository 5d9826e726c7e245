"""Requesting an export: exactly once, within the limits, without waiting."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from app.audience.estimates import estimate_rows_or_none
from app.concurrency import KeyedLocks
from app.config import Settings
from app.database.database import Database, Queryable
from app.errors import DatabaseUnavailable
from app.exports.audit import NO_CONTEXT, AuditContext, record
from app.exports.log_events import log_transition
from app.exports.queries import find_export
from app.exports.queue.lanes import FAIRNESS_DELAY_S, choose_lane
from app.exports.submission.admission import check_limits, check_same_request, read_admission_state
from app.exports.submission.export_request import ExportRequest
from app.models import CURRENT_LSN, EXPORT_COLUMN_LIST, FILE_OPTION_NAMES, Export

TURN_TIMEOUT_S = 10.0
"""How long a request waits for the seller's other requests, here and under ``lock_timeout``."""

# A separate statement, in READ COMMITTED: the snapshot of a statement is older than its wait for
# a lock, so reads in the same one would miss what the previous request has inserted.
LOCK_SELLER = """
    SELECT
        set_config('idle_in_transaction_session_timeout', '5s', true),
        set_config('lock_timeout', '10s', true),
        -- Last, to wait under this lock_timeout. xact, since PgBouncer passes the session on.
        pg_advisory_xact_lock(hashtextextended('submit_export', CAST(:seller_id AS bigint)))
"""


REFRESH_REQUIRED_LSN = f"""
    UPDATE exports
    SET required_lsn = {CURRENT_LSN}
    WHERE seller_id = :seller_id AND id = :id
        AND snapshot_at IS NULL AND status IN ('queued', 'running')
    RETURNING {EXPORT_COLUMN_LIST}
"""

BOUNDARIES = ("joined_after", "joined_before")
"""Sent as text: asyncpg makes infinities of Python's first and last instant."""


def _option_value(name: str) -> str:
    """Return the SQL for the value of one of the file's options."""
    return f"CAST(CAST(:{name} AS text) AS timestamptz)" if name in BOUNDARIES else f":{name}"


INSERT = f"""
    INSERT INTO exports (
        {", ".join(FILE_OPTION_NAMES)},
        seller_id, sources, recipient_email, requested_by, service,
        request_id, traceparent, fingerprint, rows_estimated, lane, queue_order_at
    )
    VALUES (
        {", ".join(map(_option_value, FILE_OPTION_NAMES))},
        :seller_id, :sources, :recipient_email, :requested_by, :service,
        :request_id, :traceparent, :fingerprint, :rows_estimated, :lane,
        clock_timestamp() + make_interval(secs => :set_back_s)
    )
    RETURNING {EXPORT_COLUMN_LIST}
"""

# A key older than 24 hours may be there still: it is deleted by a periodic task.
SAVE_IDEMPOTENCY_KEY = """
    INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id)
    VALUES (:seller_id, :key, :fingerprint, :export_id)
    ON CONFLICT (seller_id, key) DO UPDATE
    SET fingerprint = excluded.fingerprint,
        export_id = excluded.export_id,
        created_at = excluded.created_at
"""


@dataclass(frozen=True)
class SubmissionResult:
    """The export that answers a request, and whether the request made it."""

    export: Export
    is_new: bool


async def submit_export(
    database: Database,
    audience_database: Database,
    limits: Settings,
    request: ExportRequest,
    idempotency_key: str | None,
    audit_context: AuditContext = NO_CONTEXT,
    locks: KeyedLocks | None = None,
) -> SubmissionResult:
    """Record a request; the caller then enqueues the export it returns.

    One seller's requests are decided one after the other, so that keys,
    joining and limits are exact. With ``locks``, those of this process wait there
    for their turn, without a connection. A key seen in the last 24 hours, or an
    identical export that has no snapshot yet, answers in place of a new one;
    its file will then hold everyone who was in the audience at this request too.

    Raises:
        IdempotencyKeyReused: the key came with another request before.
        QuotaExceeded: the seller has too many exports, active or this hour.
        QueueFull: all sellers together have too many waiting (approximately:
            requests of several sellers are not decided one after the other).
        DatabaseUnavailable: trying again may help.
    """
    # Estimated before the transaction: it may take seconds, and the seller is locked in there.
    rows_estimated = await estimate_rows_or_none(audience_database, database, request.merge)
    # The turn before the connection: otherwise one seller's requests take the whole pool.
    async with _turn(locks, request.seller_id), database.transaction() as tx:
        # First of all: idempotency, coalescing and quotas are read and written under this lock.
        await _lock_seller(tx, request.seller_id)
        state = await read_admission_state(tx, limits, request, idempotency_key)
        if state.existing_id is not None:
            check_same_request(state, request)
            export = await _refresh_required_lsn(tx, request.seller_id, state.existing_id)
            return SubmissionResult(export, is_new=False)
        is_new = state.identical_id is None
        if state.identical_id is not None:
            export = await _refresh_required_lsn(tx, request.seller_id, state.identical_id)
        else:
            # Only here: a request that joins an export adds no work.
            check_limits(state, limits)
            export = await _insert(tx, request, rows_estimated, audit_context, active=state.active)
        await _audit(tx, request, export, audit_context, is_new=is_new)
        if idempotency_key is not None:
            await _save_idempotency_key(tx, request, idempotency_key, export.id)
    if is_new:  # logged after the commit, as every change of state
        log_transition("export requested", export, rows_estimated=rows_estimated)
    return SubmissionResult(export, is_new)


@asynccontextmanager
async def _turn(locks: KeyedLocks | None, seller_id: int) -> AsyncIterator[None]:
    """Wait for this process's other requests of the seller, as long as the server would."""
    async with AsyncExitStack() as stack:
        if locks is not None:
            try:
                await stack.enter_async_context(locks.acquire(seller_id, TURN_TIMEOUT_S))
            except TimeoutError as error:
                raise DatabaseUnavailable("Other requests of the seller take too long.") from error
        yield


async def _lock_seller(tx: Queryable, seller_id: int) -> None:
    """Wait for the seller's other requests; a frozen process loses the lock after 5 s."""
    await tx.execute(LOCK_SELLER, seller_id=seller_id)


async def _refresh_required_lsn(tx: Queryable, seller_id: int, export_id: UUID) -> Export:
    """Return the export; one without a snapshot will include everything committed by now."""
    row = await tx.fetchrow(REFRESH_REQUIRED_LSN, seller_id=seller_id, id=export_id)
    if row is None:
        return await find_export(tx, export_id, seller_id)
    return Export.from_row(row)


async def _insert(
    tx: Queryable,
    request: ExportRequest,
    rows_estimated: int | None,
    audit_context: AuditContext,
    *,
    active: int,
) -> Export:
    """Queue an export behind those of sellers who have fewer active exports."""
    (row,) = await tx.fetch(
        INSERT,
        **request.options.document,
        seller_id=request.seller_id,
        sources=request.sources,
        recipient_email=request.recipient_email,
        requested_by=request.requested_by,
        service=request.service,
        request_id=audit_context.request_id,
        traceparent=audit_context.traceparent,
        fingerprint=request.fingerprint,
        rows_estimated=rows_estimated or 0,
        # Not the 0 above: an unknown size belongs in the large lane.
        lane=choose_lane(rows_estimated),
        set_back_s=active * FAIRNESS_DELAY_S,
    )
    return Export.from_row(row)


async def _audit(
    tx: Queryable,
    request: ExportRequest,
    export: Export,
    audit_context: AuditContext,
    *,
    is_new: bool,
) -> None:
    await record(
        tx,
        "requested" if is_new else "coalesced",
        export,
        audit_context,
        sources=request.sources,
        **request.options.document,
    )


async def _save_idempotency_key(
    tx: Queryable, request: ExportRequest, key: str, export_id: UUID
) -> None:
    await tx.execute(
        SAVE_IDEMPOTENCY_KEY,
        seller_id=request.seller_id,
        key=key,
        fingerprint=request.fingerprint,
        export_id=export_id,
    )
