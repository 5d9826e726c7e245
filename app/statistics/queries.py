"""Statistics of exports by day, read from their rows and from the roll-up of deleted rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from asyncpg import Record

from app.database.database import Database, Queryable
from app.statistics.duration_sketch import DurationSketch
from app.statistics.rollup import BY_DAY, BY_DURATION, BY_SELLER, FINISHED_ROWS

DAYS_MAX = 3650
TOP_SELLERS = 10

FAILURE_RATE_HIGH = 0.05
"""The failure rate above which the reports show it in red; AudienceExportsFailing's threshold."""

ROWS = f"({FINISHED_ROWS.format(rows='exports WHERE id >= :first_id')})"

# Not UNION: equal groups of the two tables are different exports.
DAYS = f"""
    SELECT day, sources, outcome, error_code, exports, rows, bytes
    FROM (
        {BY_DAY.format(finished=ROWS)}
        UNION ALL
        SELECT day, sources, outcome, error_code, exports, rows, bytes FROM export_days
    ) AS all_exports
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
        {BY_SELLER.format(finished=ROWS)}
        UNION ALL
        SELECT seller_id, day, requested, succeeded, failed, rows FROM export_seller_days
    ) AS all_exports
    WHERE day BETWEEN :first AND :last
    GROUP BY seller_id
    ORDER BY sum(requested) DESC, seller_id
    LIMIT {TOP_SELLERS}
"""

DURATIONS = f"""
    SELECT day, measure, bucket, exports, seconds
    FROM (
        {BY_DURATION.format(finished=ROWS)}
        UNION ALL
        SELECT day, measure, bucket, exports, seconds FROM export_durations
    ) AS all_exports
    WHERE day BETWEEN :first AND :last
"""


@dataclass
class ExportCounts:
    """The number of exports by result, and the rows and bytes of their files.

    ``requested`` includes the active ones, so it may exceed the sum of the results.
    """

    requested: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, row: Record) -> None:
        """Add a group of exports with one outcome; active ones only count as requested."""
        self.requested += row["exports"]
        self.rows += row["rows"]
        self.bytes += row["bytes"]
        if row["outcome"] in ("succeeded", "failed", "cancelled"):
            setattr(self, row["outcome"], getattr(self, row["outcome"]) + row["exports"])

    @property
    def failure_rate(self) -> float:
        """The share of failed among succeeded and failed exports; 0 if there are none."""
        ended = self.succeeded + self.failed
        return self.failed / ended if ended else 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the failure rate is above :data:`FAILURE_RATE_HIGH`."""
        return self.failure_rate > FAILURE_RATE_HIGH


@dataclass(frozen=True)
class DailyStatistics:
    """The exports that were requested on a UTC day, and their durations."""

    day: date
    counts: ExportCounts = field(default_factory=ExportCounts)
    processing: DurationSketch = field(default_factory=DurationSketch)
    queue: DurationSketch = field(default_factory=DurationSketch)


@dataclass(frozen=True)
class SellerStatistics:
    """One seller's exports."""

    seller_id: int
    counts: ExportCounts


@dataclass(frozen=True)
class Statistics:
    """The statistics of exports requested on consecutive UTC days.

    Attributes:
        per_day: Every day, the oldest first; the last is today, which is not over.
        by_sources: By the combination of sources, the most frequent first.
        errors: The number of failed exports by error code, the most frequent first.
        top_sellers: The ten sellers with the most requests.
        total: The sums over all days.
        processing: From the last claim to the end, of exports that succeeded.
        queue: From when an export was due to its last claim, of exports that succeeded.
        before: To compare with the full days of ``per_day``: as many days right before them, or
            none where no comparison was requested or only today is reported.
    """

    per_day: list[DailyStatistics]
    by_sources: dict[tuple[str, ...], ExportCounts]
    errors: dict[str, int]
    top_sellers: list[SellerStatistics]
    total: ExportCounts
    processing: DurationSketch
    queue: DurationSketch
    before: list[DailyStatistics] = field(default_factory=list)


async def read_statistics(
    database: Database, days: int, *, is_compared: bool = False
) -> Statistics:
    """Return the statistics of today and the ``days - 1`` days before, in UTC.

    An export belongs to the day on which it was requested. All numbers are of one
    snapshot: a row that is rolled up meanwhile is counted once. ``is_compared`` reads the
    ``days - 1`` days before those as well.

    Raises:
        DatabaseUnavailable: try again.
    """
    # One snapshot: the roll-up moves exports from one table to the others.
    async with database.transaction(isolation="repeatable_read", readonly=True) as tx:
        # The server's date: rows are dated by its clock, not by this machine's.
        ((today,),) = await tx.fetch("SELECT (now() AT TIME ZONE 'UTC')::date")
        first = today - timedelta(days=days - 1)
        earliest = first - timedelta(days=days - 1) if is_compared else first
        counted = await tx.fetch(DAYS, **_span(earliest, today))
        timed = await tx.fetch(DURATIONS, **_span(earliest, today))
        sellers = await _sellers(tx, _span(first, today))
    every_day = _per_day(earliest, today, counted, timed)
    before, per_day = every_day[:-days], every_day[-days:]
    counted = [row for row in counted if row["day"] >= first]
    return Statistics(
        before=before,
        per_day=per_day,
        by_sources=_by_sources(counted),
        errors=_errors(counted),
        top_sellers=sellers,
        total=_total(counted),
        processing=DurationSketch.merged(each.processing for each in per_day),
        queue=DurationSketch.merged(each.queue for each in per_day),
    )


def _span(first: date, last: date) -> dict[str, date | UUID]:
    return {"first": first, "last": last, "first_id": _first_id(first)}


def _first_id(day: date) -> UUID:
    """Return a lower bound of the ids of exports of ``day`` or later.

    Ids begin with the time in milliseconds (RFC 9562, UUIDv7), close to ``created_at``; an hour
    of tolerance covers the difference.
    """
    before = datetime.combine(day, datetime.min.time(), UTC) - timedelta(hours=1)
    return UUID(int=int(before.timestamp() * 1000) << 80)


async def _sellers(tx: Queryable, span: dict[str, date | UUID]) -> list[SellerStatistics]:
    return [
        SellerStatistics(
            row["seller_id"],
            ExportCounts(row["requested"], row["succeeded"], row["failed"], rows=row["rows"]),
        )
        for row in await tx.fetch(SELLERS, **span)
    ]


def _per_day(
    first: date, last: date, counted: Iterable[Record], timed: Iterable[Record]
) -> list[DailyStatistics]:
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    found = {day: DailyStatistics(day) for day in days}
    for row in counted:
        found[row["day"]].counts.add(row)
    for row in timed:
        day = found[row["day"]]
        durations = day.processing if row["measure"] == "processing" else day.queue
        durations.add(row["bucket"], row["exports"], row["seconds"])
    return list(found.values())


def _by_sources(counted: Iterable[Record]) -> dict[tuple[str, ...], ExportCounts]:
    found: dict[tuple[str, ...], ExportCounts] = {}
    for row in counted:
        found.setdefault(tuple(row["sources"].split()), ExportCounts()).add(row)
    return dict(sorted(found.items(), key=lambda each: (-each[1].requested, each[0])))


def _errors(counted: Iterable[Record]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in counted:
        if row["outcome"] == "failed":
            found[row["error_code"]] = found.get(row["error_code"], 0) + row["exports"]
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def _total(counted: Iterable[Record]) -> ExportCounts:
    total = ExportCounts()
    for row in counted:
        total.add(row)
    return total
