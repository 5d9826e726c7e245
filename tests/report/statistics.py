"""Statistics of a shop that is doing well, but had one bad day."""

import random
from datetime import UTC, date, datetime, timedelta

from app.statistics.duration_sketch import DurationSketch, sketch_of
from app.statistics.queries import DailyStatistics, ExportCounts, SellerStatistics, Statistics

LAST = date(2026, 11, 22)
MADE_AT = datetime(2026, 11, 22, 20, 5, tzinfo=UTC)
BAD_DAYS_AGO = 8


def some_statistics(days: int = 30) -> Statistics:
    """Return statistics of days that end with :data:`LAST`; always the same."""
    dice = random.Random(7)
    per_day = [_day(LAST - timedelta(days=ago), ago, dice) for ago in reversed(range(days))]
    ago_before = reversed(range(days, 2 * days - 1))
    return Statistics(
        per_day=per_day,
        by_sources={
            ("follower",): ExportCounts(2214),
            ("follower", "customer"): ExportCounts(1709),
            ("customer",): ExportCounts(812),
            ("follower", "customer", "affiliate"): ExportCounts(301),
        },
        errors={"storage_unavailable": 27, "stream_stalled": 11, "worker_lost": 3},
        top_sellers=[
            SellerStatistics(
                1000 + 37 * n,
                ExportCounts(214 - 17 * n, 212 - 17 * n, n % 3, rows=91_000 * (11 - n)),
            )
            for n in range(10)
        ],
        total=_sum([day.counts for day in per_day]),
        processing=DurationSketch.merged(day.processing for day in per_day),
        queue=DurationSketch.merged(day.queue for day in per_day),
        before=[_day(LAST - timedelta(days=ago), ago, dice) for ago in ago_before],
    )


def no_statistics(days: int = 30) -> Statistics:
    """Return statistics of days on which nothing was asked for."""
    per_day = [DailyStatistics(LAST - timedelta(days=ago)) for ago in reversed(range(days))]
    return Statistics(per_day, {}, {}, [], ExportCounts(), DurationSketch(), DurationSketch())


def _day(day: date, ago: int, dice: random.Random) -> DailyStatistics:
    weekend = 0.6 if day.weekday() > 4 else 1
    requested = round((230 - ago % 90) * weekend * dice.uniform(0.9, 1.1))
    failed = dice.randrange(3) + (24 if ago == BAD_DAYS_AGO else 0)
    cancelled = dice.randrange(6)
    done = requested - failed - cancelled
    rows = done * dice.randrange(4000, 7000)
    slower = 2.4 if ago == BAD_DAYS_AGO else 1
    processing = [slower * (0.1 + dice.lognormvariate(-0.3, 1.1)) for _ in range(done)]
    return DailyStatistics(
        day,
        ExportCounts(requested, done, failed, cancelled, rows, rows * 44),
        sketch_of(processing),
        sketch_of(dice.expovariate(9) for _ in range(done)),
    )


def _sum(several: list[ExportCounts]) -> ExportCounts:
    total = ExportCounts()
    for counts in several:
        for name, number in vars(counts).items():
            setattr(total, name, getattr(total, name) + number)
    return total
