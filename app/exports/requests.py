"""Requesting an export: exactly once, within the limits, without waiting."""

import json
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.estimates import estimate_in_time
from app.audience.merge import Merge
from app.config import Settings
from app.errors import KeyReused, QueueFull, QuotaExceeded
from app.exports.audit import UNKNOWN, Origin, record_on
from app.exports.journal import noted
from app.exports.lanes import TURN_S, lane_of
from app.exports.queries import find_export_on
from app.models import CURRENT_LSN, EXPORT_NAMES, Export
from app.statements import Lent, Statement, lent_transaction

HOUR_S = 3600
ACTIVE_RETRY_S = 10
BACKLOG_RETRY_S = 30

TAKE_TURN = Statement("""
    SELECT
        set_config('idle_in_transaction_session_timeout', '5s', true),
        set_config('lock_timeout', '10s', true),
        pg_advisory_xact_lock(hashtextextended('request_export', CAST(:seller_id AS bigint)))
""")

STANDING = Statement("""
    WITH known AS (
        SELECT fingerprint, export_id
        FROM idempotency_keys
        WHERE seller_id = :seller_id AND key = :key
        AND created_at > clock_timestamp() - interval '24 hours'
    ),
    identical AS (
        SELECT id
        FROM exports
        WHERE seller_id = :seller_id AND fingerprint = :fingerprint
        AND snapshot_at IS NULL AND status IN ('queued', 'running')
        FOR NO KEY UPDATE
    )
    SELECT
        (SELECT export_id FROM known) AS known_id,
        (SELECT fingerprint FROM known) AS known_fingerprint,
        (SELECT id FROM identical) AS identical_id,
        (
            SELECT count(*)
            FROM (SELECT FROM exports WHERE status = 'queued' LIMIT :queued_max) AS queued
        ) AS waiting,
        count(*) FILTER (WHERE is_active) AS active,
        count(*) FILTER (WHERE is_recent) AS recent,
        coalesce(extract(epoch FROM max(age) FILTER (WHERE is_recent)), 0) AS oldest_s
    FROM (
        SELECT
            clock_timestamp() - created_at AS age,
            status IN ('queued', 'running') AS is_active,
            created_at > clock_timestamp() - interval '1 hour' AS is_recent
        FROM exports
        WHERE seller_id = :seller_id
    ) AS theirs
    WHERE is_active OR is_recent
""")

ASK_AGAIN = Statement(f"""
    UPDATE exports
    SET asked_lsn = {CURRENT_LSN}
    WHERE seller_id = :seller_id AND id = :id
        AND snapshot_at IS NULL AND status IN ('queued', 'running')
    RETURNING {EXPORT_NAMES}
""")

INSERT = Statement(f"""
    INSERT INTO exports (
        seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, requested_by, service,
        request_id, traceparent, fingerprint, rows_estimated, lane, turn_at
    )
    VALUES (
        :seller_id, :sources, :columns, :spreadsheet_safe, :bom, :recipient_email, :requested_by,
        :service, :request_id, :traceparent, :fingerprint, :rows_estimated, :lane,
        clock_timestamp() + make_interval(secs => :set_back_s)
    )
    RETURNING {EXPORT_NAMES}
""")

KEEP_KEY = Statement("""
    INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id)
    VALUES (:seller_id, :key, :fingerprint, :export_id)
    ON CONFLICT (seller_id, key) DO UPDATE
    SET fingerprint = excluded.fingerprint,
        export_id = excluded.export_id,
        created_at = excluded.created_at
""")


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What somebody asks for; sources and columns are known and fit each other."""

    seller_id: int
    recipient_email: str
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    spreadsheet_safe: bool
    bom: bool
    requested_by: str | None
    service: str | None = None

    @property
    def merge(self) -> Merge:
        """What the export will read."""
        return Merge(self.seller_id, self.sources, self.columns, self.spreadsheet_safe, self.bom)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes, equal for requests that would make the same file for the same person."""
        wish = [self.recipient_email, self.sources, self.columns, self.spreadsheet_safe, self.bom]
        return sha256(json.dumps(wish).encode()).digest()


@dataclass(frozen=True)
class Requested:
    """The export that answers a request, and whether the request made it."""

    export: Export
    is_new: bool


@dataclass(frozen=True)
class Standing:
    """What decides about a request.

    The export that its key made and the fingerprint of the request then, the
    export that is like it and has not begun, how many exports of all sellers
    wait, and of its own seller: how many are active, how many were asked for
    within the hour, and how long ago the oldest of those.
    """

    known_id: UUID | None
    known_fingerprint: bytes | None
    identical_id: UUID | None
    waiting: int
    active: int
    recent: int
    oldest_s: float


async def request_export(
    engine: AsyncEngine,
    audience_engine: AsyncEngine,
    limits: Settings,
    request: ExportRequest,
    idempotency_key: str | None,
    origin: Origin = UNKNOWN,
) -> Requested:
    """Record a request; the caller then rings for the export it returns.

    One seller's requests are decided one after the other, so that keys,
    joining and limits are exact. A key seen in the last 24 hours, or an
    identical export that has no snapshot yet, answers in place of a new one;
    its file will then hold whoever was in the audience at this request too.

    Raises:
        KeyReused: the key came with another request before.
        QuotaExceeded: the seller has too many exports, active or this hour.
        QueueFull: all sellers together have too many waiting (approximately:
            requests of several sellers are not decided one after the other).
    """
    rows_estimated = await estimate_in_time(audience_engine, engine, request.merge)
    async with lent_transaction(engine) as lent:
        await _take_turn(lent, request.seller_id)
        standing = await _standing(lent, limits, request, idempotency_key)
        if standing.known_id is not None:
            _check_same(standing, request)
            export = await _ask_again(lent, request.seller_id, standing.known_id)
            return Requested(export, is_new=False)
        is_new = standing.identical_id is None
        if standing.identical_id is not None:
            export = await _ask_again(lent, request.seller_id, standing.identical_id)
        else:
            _check_limits(standing, limits)
            export = await _insert(lent, request, rows_estimated, origin, active=standing.active)
        await _audit(lent, request, export, origin, is_new=is_new)
        if idempotency_key is not None:
            await _keep_key(lent, request, idempotency_key, export.id)
    if is_new:
        noted("export requested", export, rows_estimated=rows_estimated)
    return Requested(export, is_new)


async def _take_turn(lent: Lent, seller_id: int) -> None:
    """Wait for the seller's other requests; a frozen process lets go after 5 s."""
    await TAKE_TURN.rows_on(*lent, seller_id=seller_id)


async def _standing(
    lent: Lent, limits: Settings, request: ExportRequest, key: str | None
) -> Standing:
    """Return what decides about a request, in a snapshot of this seller's turn."""
    (row,) = await STANDING.rows_on(
        *lent,
        seller_id=request.seller_id,
        key=key,
        fingerprint=request.fingerprint,
        queued_max=limits.max_queued_exports,
    )
    return Standing(**dict(row))


async def _ask_again(lent: Lent, seller_id: int, export_id: UUID) -> Export:
    """Return the export; without a snapshot yet, it will hold who is there by now."""
    row = await ASK_AGAIN.row_on(*lent, seller_id=seller_id, id=export_id)
    if row is None:
        return await find_export_on(lent, export_id, seller_id)
    return Export.of_record(row)


def _check_same(standing: Standing, request: ExportRequest) -> None:
    if standing.known_fingerprint != request.fingerprint:
        raise KeyReused("This Idempotency-Key came with a different request before.")


def _check_limits(standing: Standing, limits: Settings) -> None:
    if standing.waiting >= limits.max_queued_exports:
        raise QueueFull("Too many exports are waiting; try again soon.", BACKLOG_RETRY_S)
    if standing.active >= limits.max_active_exports_per_seller:
        raise QuotaExceeded(
            f"{standing.active} exports are under way; wait until one has ended.", ACTIVE_RETRY_S
        )
    if standing.recent >= limits.max_exports_per_seller_per_hour:
        raise QuotaExceeded(
            f"{standing.recent} exports were asked for within an hour.",
            max(1, HOUR_S - int(standing.oldest_s)),
        )


async def _insert(
    lent: Lent,
    request: ExportRequest,
    rows_estimated: int | None,
    origin: Origin,
    *,
    active: int,
) -> Export:
    """Queue an export behind those of other sellers who have fewer under way."""
    (row,) = await INSERT.rows_on(
        *lent,
        **vars(request),
        request_id=origin.request_id,
        traceparent=origin.traceparent,
        fingerprint=request.fingerprint,
        rows_estimated=rows_estimated or 0,
        lane=lane_of(rows_estimated),
        set_back_s=active * TURN_S,
    )
    return Export.of_record(row)


async def _audit(
    lent: Lent, request: ExportRequest, export: Export, origin: Origin, *, is_new: bool
) -> None:
    await record_on(
        lent,
        "requested" if is_new else "joined",
        export,
        origin,
        sources=request.sources,
        columns=request.columns,
        spreadsheet_safe=request.spreadsheet_safe,
        bom=request.bom,
    )


async def _keep_key(lent: Lent, request: ExportRequest, key: str, export_id: UUID) -> None:
    await KEEP_KEY.rows_on(
        *lent,
        seller_id=request.seller_id,
        key=key,
        fingerprint=request.fingerprint,
        export_id=export_id,
    )
