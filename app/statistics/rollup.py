"""The roll-up: adds an export to the daily statistics in the statement that deletes its row."""

from app.database.batches import IN_OLDEST, oldest_rows
from app.statistics.duration_sketch import BUCKET

FINISHED_ROWS = """
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
"""What the statistics need of each row; an expired or deleted export has succeeded."""

BY_DAY = """
    SELECT
        day, sources, outcome, error_code,
        count(*) AS exports, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
    FROM {finished} AS finished
    GROUP BY day, sources, outcome, error_code
"""

BY_SELLER = """
    SELECT
        seller_id, day,
        count(*) AS requested,
        count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        sum(rows)::bigint AS rows
    FROM {finished} AS finished
    GROUP BY seller_id, day
"""

BY_DURATION = f"""
    SELECT day, measure, {BUCKET} AS bucket, count(*) AS exports, sum(seconds) AS seconds
    FROM {{finished}} AS finished,
        LATERAL (VALUES ('processing', processing_s), ('queue', queue_s)) AS of (measure, seconds)
    WHERE has_file AND seconds IS NOT NULL
    GROUP BY day, measure, bucket
"""

# The conditions are those of exports_ended_idx, which is partial: without them it is not used.
OLD_EXPORTS = oldest_rows(
    "exports",
    "status NOT IN ('queued', 'running', 'succeeded')"
    " AND greatest(finished_at, expires_at) < statement_timestamp() - interval '30 days'"
    " AND cardinality(uncleaned_attempts) = 0",
    "greatest(finished_at, expires_at)",
)

# Deletes the first :batch rows that ended 30 days ago and adds them to the roll-up. In one
# statement, so that an export is never counted twice or not at all. Workers that execute it
# concurrently skip each other's rows, and write the sums in one order, which keeps them from
# deadlock.
ROLL_UP_AND_DELETE = f"""{OLD_EXPORTS},
    deleted AS (
        DELETE FROM exports
        WHERE {IN_OLDEST}
        RETURNING *
    ),
    finished AS ({FINISHED_ROWS.format(rows="deleted")}),
    days AS (
        INSERT INTO export_days AS total (
            day, sources, outcome, error_code, exports, rows, bytes
        )
        {BY_DAY.format(finished="finished")}
        ORDER BY day, sources, outcome, error_code
        ON CONFLICT (day, sources, outcome, error_code) DO UPDATE
        SET exports = total.exports + excluded.exports,
            rows = total.rows + excluded.rows,
            bytes = total.bytes + excluded.bytes
    ),
    sellers AS (
        INSERT INTO export_seller_days AS total (
            seller_id, day, requested, succeeded, failed, rows
        )
        {BY_SELLER.format(finished="finished")}
        ORDER BY seller_id, day
        ON CONFLICT (seller_id, day) DO UPDATE
        SET requested = total.requested + excluded.requested,
            succeeded = total.succeeded + excluded.succeeded,
            failed = total.failed + excluded.failed,
            rows = total.rows + excluded.rows
    ),
    durations AS (
        INSERT INTO export_durations AS total (day, measure, bucket, exports, seconds)
        {BY_DURATION.format(finished="finished")}
        ORDER BY day, measure, bucket
        ON CONFLICT (day, measure, bucket) DO UPDATE
        SET exports = total.exports + excluded.exports,
            seconds = total.seconds + excluded.seconds
    )
    SELECT 1 FROM deleted
"""
