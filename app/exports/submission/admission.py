"""Admission: idempotency, coalescing and quotas."""

from dataclasses import dataclass
from uuid import UUID

from app.config import Settings
from app.database.database import Queryable
from app.errors import IdempotencyKeyReused, QueueFull, QuotaExceeded
from app.exports.submission.export_request import ExportRequest

HOUR_S = 3600

ACTIVE_RETRY_S = 10

BACKLOG_RETRY_S = 30

# The last hour is found by the ids of the seller, which begin with the time (UUIDv7).
SELECT_ADMISSION_STATE = """
    WITH existing AS (
        SELECT fingerprint, export_id
        FROM idempotency_keys
        WHERE seller_id = :seller_id AND key = :key
        AND created_at > statement_timestamp() - interval '24 hours'
    ),
    identical AS (
        SELECT id
        FROM exports
        WHERE seller_id = :seller_id AND fingerprint = :fingerprint
        -- The predicate of exports_identical_key: what is not found here can be inserted.
        AND snapshot_at IS NULL AND status IN ('queued', 'running')
        -- Locked, so that no worker claims it before this request has raised its required_lsn.
        FOR NO KEY UPDATE
    )
    SELECT
        (SELECT export_id FROM existing) AS existing_id,
        (SELECT fingerprint FROM existing) AS existing_fingerprint,
        (SELECT id FROM identical) AS identical_id,
        (
            SELECT count(*)
            -- Counted up to the limit only: every request counts, also while the backlog is long.
            FROM (SELECT FROM exports WHERE status = 'queued' LIMIT :queued_max) AS queued
        ) AS waiting,
        (
            SELECT count(*)
            FROM exports
            WHERE seller_id = :seller_id AND status IN ('queued', 'running')
        ) AS active,
        count(*) AS recent,
        coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_s
    FROM exports
    WHERE seller_id = :seller_id
        -- uuidv7() is volatile: outside a subquery it is no index condition. The 61st minute is a
        -- margin; created_at decides.
        AND (seller_id, id) > (:seller_id, (SELECT uuidv7(interval '-61 minutes')))
        AND created_at > statement_timestamp() - interval '1 hour'
"""


@dataclass(frozen=True)
class AdmissionState:
    """What idempotency, coalescing and quotas are decided on, read in one statement.

    Attributes:
        existing_id: The export made with the same idempotency key; ``None`` if there is none.
        existing_fingerprint: The fingerprint of that request.
        identical_id: An identical export without a snapshot, which the request can join.
        waiting: The number of queued exports of all sellers.
        active: The number of the seller's active exports.
        recent: The number of the seller's requests within the last hour.
        oldest_s: How long ago the oldest of those was made, in seconds.
    """

    existing_id: UUID | None
    existing_fingerprint: bytes | None
    identical_id: UUID | None
    waiting: int
    active: int
    recent: int
    oldest_s: float


async def read_admission_state(
    tx: Queryable, limits: Settings, request: ExportRequest, key: str | None
) -> AdmissionState:
    """Read the state in the transaction that has locked the seller.

    ``key`` is the idempotency key, ``None`` without one.
    """
    (row,) = await tx.fetch(
        SELECT_ADMISSION_STATE,
        seller_id=request.seller_id,
        key=key,
        fingerprint=request.fingerprint,
        queued_max=limits.max_queued_exports,
    )
    return AdmissionState(**dict(row))


def check_same_request(state: AdmissionState, request: ExportRequest) -> None:
    """Raise ``IdempotencyKeyReused`` when the key came with another request."""
    if state.existing_fingerprint != request.fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key came with a different request before.")


def check_limits(state: AdmissionState, limits: Settings) -> None:
    """Raise ``QueueFull`` or ``QuotaExceeded`` when a limit is reached."""
    if state.waiting >= limits.max_queued_exports:
        raise QueueFull("Too many exports are waiting; try again soon.", BACKLOG_RETRY_S)
    if state.active >= limits.max_active_exports_per_seller:
        raise QuotaExceeded(
            f"{state.active} exports are under way; wait until one has ended.",
            ACTIVE_RETRY_S,
            "active_exports",
            limits.max_active_exports_per_seller,
        )
    if state.recent >= limits.max_exports_per_seller_per_hour:
        raise QuotaExceeded(
            f"{state.recent} exports were asked for within an hour.",
            max(1, HOUR_S - int(state.oldest_s)),
            "exports_per_hour",
            limits.max_exports_per_seller_per_hour,
        )
