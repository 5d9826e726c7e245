"""Where claims begin to look in the index of a queue: a lane, the mails or the webhooks due.

What is claimed leaves a dead entry at the beginning of the index, which vacuum cannot remove while
anyone holds an older snapshot, as an export of hours does. A claim would read all of them first.
So one worker of the fleet records every few seconds from which instant on a live entry may be.
"""

from typing import get_args

from app.database.database import Database
from app.ports import Lane

MAILS = "mails"
"""The queue of mails, beside those of the lanes; its order is ``email_due_at``."""

WEBHOOKS = "webhooks"
"""The queue of webhook deliveries, of all services; its order is ``due_at``."""

MARGIN_S = 5.0
"""What was queued in the last seconds may not be committed yet. What is committed later is
claimed after the next advance."""

# A start may move back: a row may return to the queue under its old place.
ADVANCE = """
    INSERT INTO queue_starts (queue, starts_at)
    -- least() ignores NULL: the start of an empty queue advances, too.
    SELECT queue, least(first_at, statement_timestamp() - make_interval(secs => :margin_s))
    FROM (
        SELECT lane AS queue, (
            -- Without the present start as a bound: this scan finds what has come to lie before it.
            SELECT min(queue_order_at)
            FROM exports
            WHERE exports.lane = lanes.lane AND status = 'queued'
        ) AS first_at
        FROM unnest(CAST(:lanes AS text[])) AS lanes (lane)
        UNION ALL
        SELECT CAST(:mails AS text), (
            SELECT min(email_due_at)
            FROM exports
            WHERE email_status = 'pending'
        )
        UNION ALL
        SELECT CAST(:webhooks AS text), (
            SELECT min(first_due_at)
            FROM webhook_endpoints
            CROSS JOIN LATERAL (
                SELECT min(due_at) AS first_due_at
                FROM webhook_deliveries
                WHERE service = webhook_endpoints.service AND status = 'pending'
            ) AS waiting
        )
    ) AS live
    ON CONFLICT (queue) DO UPDATE
    SET starts_at = excluded.starts_at
"""


def start_of(queue: str) -> str:
    """Return the SQL of the instant before which a queue has no entry; ``queue`` is SQL too."""
    # A scalar subquery is a bound of the index scan, which a join would not be. Without a row,
    # NULL would compare as unknown, and nothing would be claimed before the first advance.
    return f"coalesce((SELECT starts_at FROM queue_starts WHERE queue = {queue}), '-infinity')"


async def advance_queue_starts(database: Database) -> None:
    """Record where the live entries of each queue begin; safe to run twice at once.

    Raises:
        DatabaseUnavailable: claims read further back, and miss nothing.
    """
    await database.execute(
        ADVANCE, margin_s=MARGIN_S, lanes=get_args(Lane), mails=MAILS, webhooks=WEBHOOKS
    )
