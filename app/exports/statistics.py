"""Statistics of exports over days: from their rows, and from the roll-up of those forgotten."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database import transaction
from app.exports.durations import Durations
from app.exports.rollup import BY_DAY, BY_DURATION, BY_SELLER, FACTS

DAYS_MAX = 3650
TOP_SELLERS = 10

ROWS = f"({FACTS.format(rows='exports')})"

DAYS = f"""
    SELECT day, sources, outcome, error_code, exports, rows, bytes
    FROM (
        {BY_DAY.format(facts=ROWS)}
        UNION ALL
        SELECT day, sources, outcome, error_code, exports, rows, bytes FROM export_days
    ) AS every
    WHERE day BETWEEN :first AND :last
"""

SELLERS = f"""
    SELECT
        seller_id,
        sum(requested)::bigint AS requested,
        sum(succeeded)::bigint AS succeeded,
        sum(failed)::bigint AS failed,
        sum(rows)::bigint AS rows
    FROM (
        {BY_SELLER.format(facts=ROWS)}
        UNION ALL
        SELECT seller_id, day, requested, succeeded, failed, rows FROM export_seller_days
    ) AS every
    WHERE day BETWEEN :first AND :last
    GROUP BY seller_id
    ORDER BY sum(requested) DESC, seller_id
    LIMIT {TOP_SELLERS}
"""

DURATIONS = f"""
    SELECT day, measure, bucket, exports, seconds
    FROM (
        {BY_DURATION.format(facts=ROWS)}
        UNION ALL
        SELECT day, measure, bucket, exports, seconds FROM export_durations
    ) AS every
    WHERE day BETWEEN :first AND :last
"""


@dataclass
class Tally:
    """How many exports were asked for and what became of them."""

    requested: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, row: Row[Any]) -> None:
        """Add exports that share an outcome; those still active are requested only."""
        self.requested += row.exports
        self.rows += row.rows
        self.bytes += row.bytes
        if row.outcome in ("succeeded", "failed", "cancelled"):
            setattr(self, row.outcome, getattr(self, row.outcome) + row.exports)

    @property
    def failure_rate(self) -> float:
        """The share of failures among what succeeded or failed; 0 where nothing did."""
        ended = self.succeeded + self.failed
        return self.failed / ended if ended else 0.0


@dataclass(frozen=True)
class Day:
    """The exports that were asked for on a day of UTC, and how long they took."""

    day: date
    tally: Tally = field(default_factory=Tally)
    processing: Durations = field(default_factory=Durations)
    queue: Durations = field(default_factory=Durations)


@dataclass(frozen=True)
class Seller:
    """One seller's exports."""

    seller_id: int
    tally: Tally


@dataclass(frozen=True)
class Statistics:
    """What happened to the exports that were asked for on some days, oldest day first.

    ``by_sources`` and ``errors`` have the most frequent first, ``top_sellers``
    the ten who asked most often.
    """

    per_day: list[Day]
    by_sources: dict[tuple[str, ...], Tally]
    errors: dict[str, int]
    top_sellers: list[Seller]
    total: Tally
    processing: Durations
    queue: Durations


async def read_statistics(engine: AsyncEngine, days: int) -> Statistics:
    """Return the statistics of today and the ``days - 1`` days before, in UTC.

    An export belongs to the day it was asked for. All numbers are of one
    instant.

    Raises:
        DatabaseUnavailable: try again.
    """
    async with transaction(engine) as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        today: date = await connection.scalar(text("SELECT (now() AT TIME ZONE 'UTC')::date"))
        span = {"first": today - timedelta(days=days - 1), "last": today}
        counted = (await connection.execute(text(DAYS), span)).all()
        timed = (await connection.execute(text(DURATIONS), span)).all()
        sellers = await _sellers(connection, span)
    per_day = _per_day([span["first"] + timedelta(days=n) for n in range(days)], counted, timed)
    return Statistics(
        per_day=per_day,
        by_sources=_by_sources(counted),
        errors=_errors(counted),
        top_sellers=sellers,
        total=_tally(counted),
        processing=Durations.together(each.processing for each in per_day),
        queue=Durations.together(each.queue for each in per_day),
    )


async def _sellers(connection: AsyncConnection, span: dict[str, date]) -> list[Seller]:
    rows = await connection.execute(text(SELLERS), span)
    return [
        Seller(row.seller_id, Tally(row.requested, row.succeeded, row.failed, rows=row.rows))
        for row in rows
    ]


def _per_day(days: list[date], counted: Iterable[Row[Any]], timed: Iterable[Row[Any]]) -> list[Day]:
    found = {day: Day(day) for day in days}
    for row in counted:
        found[row.day].tally.add(row)
    for row in timed:
        day = found[row.day]
        durations = day.processing if row.measure == "processing" else day.queue
        durations.add(row.bucket, row.exports, row.seconds)
    return list(found.values())


def _by_sources(counted: Iterable[Row[Any]]) -> dict[tuple[str, ...], Tally]:
    found: dict[tuple[str, ...], Tally] = {}
    for row in counted:
        found.setdefault(tuple(row.sources.split()), Tally()).add(row)
    return dict(sorted(found.items(), key=lambda each: (-each[1].requested, each[0])))


def _errors(counted: Iterable[Row[Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in counted:
        if row.outcome == "failed":
            found[row.error_code] = found.get(row.error_code, 0) + row.exports
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def _tally(counted: Iterable[Row[Any]]) -> Tally:
    total = Tally()
    for row in counted:
        total.add(row)
    return total
