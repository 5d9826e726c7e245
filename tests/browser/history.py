"""Two months of exports of a marketplace, for the picture of the page of plots."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from app.database.connections import Connection

DAYS = 59
"""A month, and as many full days before to compare with."""

BAD_DAYS_AGO = 9
SOURCES = (
    ["follower"],
    ["follower", "customer"],
    ["customer"],
    ["follower", "customer", "affiliate"],
)
SOURCE_WEIGHTS = (44, 34, 16, 6)
OUTAGE = ("storage_unavailable", "stream_stalled")

INSERT = """
    INSERT INTO exports (
        seller_id, status, sources, columns, spreadsheet_safe, bom, recipient_email, fingerprint,
        created_at, due_at, started_at, finished_at, expires_at, file_rows, file_bytes, error_code
    )
    VALUES (
        $1, $2, $3, '{email,subscribed_at}', true, false, 'seller@example.com', '',
        $4, $4, $5, $6, $7, $8, $9, $10
    )
"""


async def write_history(connection: Connection) -> None:
    """Insert some seven thousand exports: fewer at week-ends, a bad afternoon of the store."""
    await connection.executemany(INSERT, list(_rows(random.Random(11))))


def _rows(dice: random.Random) -> Iterator[tuple[Any, ...]]:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(DAYS):
        day = midnight - timedelta(days=ago)
        busy = (0.55 if day.weekday() > 4 else 1) * (0.6 if ago == 0 else 1)
        for _ in range(round((240 - 3 * ago) * busy * dice.uniform(0.9, 1.1))):
            yield _row(day, ago, dice)


def _row(day: datetime, ago: int, dice: random.Random) -> tuple[Any, ...]:
    is_bad = ago == BAD_DAYS_AGO
    created_at = day + timedelta(seconds=dice.uniform(0, 60_000))
    rows = round(dice.lognormvariate(7.8, 1.5))
    queue_s = dice.expovariate(20) + 0.02
    processing_s = 0.12 + rows / 90_000 + dice.lognormvariate(-1.6, 0.9) * (4 if is_bad else 1)
    started_at = created_at + timedelta(seconds=queue_s)
    finished_at = started_at + timedelta(seconds=processing_s)
    chance = dice.random()
    file: tuple[Any, ...]
    if chance < (0.14 if is_bad else 0.004):
        code = dice.choice(OUTAGE) if is_bad else dice.choice(("worker_lost", *OUTAGE))
        status, file = "failed", (None, None, None, code)
    elif chance > 0.99:
        status, file = "cancelled", (None, None, None, None)
    else:
        expires_at = finished_at + timedelta(days=7)
        status = "expired" if ago > 6 else "succeeded"
        file = (expires_at, rows, rows * 44, None)
    place = dice.choices(range(400), [1 / (place + 9) for place in range(400)])[0]
    seller_id = 1000 + place * 7919 % 9000
    sources = dice.choices(SOURCES, SOURCE_WEIGHTS)[0]
    return (seller_id, status, sources, created_at, started_at, finished_at, *file)
