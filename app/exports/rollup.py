"""The roll-up: what the statistics keep of an export when its row is forgotten."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.exports.durations import BUCKET

FACTS = """
    SELECT
        (created_at AT TIME ZONE 'UTC')::date AS day,
        seller_id,
        array_to_string(sources, ' ') AS sources,
        CASE WHEN status IN ('expired', 'deleted') THEN 'succeeded' ELSE status END AS outcome,
        CASE WHEN status = 'failed' THEN coalesce(error_code, 'internal') ELSE '' END AS error_code,
        CASE WHEN status IN ('succeeded', 'expired', 'deleted') THEN coalesce(file_rows, 0)
            ELSE 0 END AS rows,
        CASE WHEN status IN ('succeeded', 'expired', 'deleted') THEN coalesce(file_bytes, 0)
            ELSE 0 END AS bytes,
        status IN ('succeeded', 'expired', 'deleted') AS has_file,
        greatest(0, extract(epoch FROM finished_at - started_at))::float AS processing_s,
        greatest(0, extract(epoch FROM started_at - due_at))::float AS queue_s
    FROM {rows}
"""
"""What counts of an export: one that expired or was erased has succeeded before."""

BY_DAY = """
    SELECT
        day, sources, outcome, error_code,
        count(*) AS exports, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
    FROM {facts} AS facts
    GROUP BY day, sources, outcome, error_code
"""

BY_SELLER = """
    SELECT
        seller_id, day,
        count(*) AS requested,
        count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        sum(rows)::bigint AS rows
    FROM {facts} AS facts
    GROUP BY seller_id, day
"""

BY_DURATION = f"""
    SELECT day, measure, {BUCKET} AS bucket, count(*) AS exports, sum(seconds) AS seconds
    FROM {{facts}} AS facts,
        LATERAL (VALUES ('processing', processing_s), ('queue', queue_s)) AS of (measure, seconds)
    WHERE has_file AND seconds IS NOT NULL
    GROUP BY day, measure, bucket
"""

FORGET = f"""
    WITH gone AS (
        DELETE FROM exports
        WHERE (seller_id, id) IN (
            SELECT seller_id, id
            FROM exports
            WHERE status NOT IN ('queued', 'running', 'succeeded')
            AND greatest(finished_at, expires_at) < clock_timestamp() - interval '30 days'
            AND cardinality(residue) = 0
            LIMIT :batch
            FOR UPDATE SKIP LOCKED
        )
        RETURNING *
    ),
    facts AS ({FACTS.format(rows="gone")}),
    days AS (
        INSERT INTO export_days AS known (
            day, sources, outcome, error_code, exports, rows, bytes
        )
        {BY_DAY.format(facts="facts")}
        ORDER BY day, sources, outcome, error_code
        ON CONFLICT (day, sources, outcome, error_code) DO UPDATE
        SET exports = known.exports + excluded.exports,
            rows = known.rows + excluded.rows,
            bytes = known.bytes + excluded.bytes
    ),
    sellers AS (
        INSERT INTO export_seller_days AS known (
            seller_id, day, requested, succeeded, failed, rows
        )
        {BY_SELLER.format(facts="facts")}
        ORDER BY seller_id, day
        ON CONFLICT (seller_id, day) DO UPDATE
        SET requested = known.requested + excluded.requested,
            succeeded = known.succeeded + excluded.succeeded,
            failed = known.failed + excluded.failed,
            rows = known.rows + excluded.rows
    ),
    durations AS (
        INSERT INTO export_durations AS known (day, measure, bucket, exports, seconds)
        {BY_DURATION.format(facts="facts")}
        ORDER BY day, measure, bucket
        ON CONFLICT (day, measure, bucket) DO UPDATE
        SET exports = known.exports + excluded.exports,
            seconds = known.seconds + excluded.seconds
    )
    SELECT count(*) FROM gone
"""


async def forget_exports(connection: AsyncConnection, batch: int) -> int:
    """Drop rows that ended 30 days ago, add them to the roll-up, and return how many.

    One statement: no export is ever in both or in neither. Workers that do it
    at once pass over each other's rows and write the sums in one order.
    """
    forgotten: int | None = await connection.scalar(text(FORGET), {"batch": batch})
    return forgotten or 0
