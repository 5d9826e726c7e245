"""Statistics of a shop that is doing well, but had one bad day."""

import random
from datetime import UTC, date, datetime, timedelta

from app.exports.durations import Durations, durations_of
from app.exports.statistics import Day, Seller, Statistics, Tally

LAST = date(2026, 11, 22)
MADE_AT = datetime(2026, 11, 22, 20, 5, tzinfo=UTC)
BAD_DAYS_AGO = 8


def some_statistics(days: int = 30) -> Statistics:
    """Return statistics of days that end with :data:`LAST`; always the same."""
    dice = random.Random(7)
    per_day = [_day(LAST - timedelta(days=ago), ago, dice) for ago in reversed(range(days))]
    return Statistics(
        per_day=per_day,
        by_sources={
            ("follower",): Tally(2214),
            ("follower", "customer"): Tally(1709),
            ("customer",): Tally(812),
            ("follower", "customer", "affiliate"): Tally(301),
        },
        errors={"storage_unavailable": 27, "stream_stalled": 11, "worker_lost": 3},
        top_sellers=[
            Seller(1000 + 37 * n, Tally(214 - 17 * n, 212 - 17 * n, n % 3, rows=91_000 * (11 - n)))
            for n in range(10)
        ],
        total=_sum([day.tally for day in per_day]),
        processing=Durations.together(day.processing for day in per_day),
        queue=Durations.together(day.queue for day in per_day),
    )


def no_statistics(days: int = 30) -> Statistics:
    """Return statistics of days on which nothing was asked for."""
    per_day = [Day(LAST - timedelta(days=ago)) for ago in reversed(range(days))]
    return Statistics(per_day, {}, {}, [], Tally(), Durations(), Durations())


def _day(day: date, ago: int, dice: random.Random) -> Day:
    weekend = 0.6 if day.weekday() > 4 else 1
    requested = round((230 - ago % 90) * weekend * dice.uniform(0.9, 1.1))
    failed = dice.randrange(3) + (24 if ago == BAD_DAYS_AGO else 0)
    cancelled = dice.randrange(6)
    done = requested - failed - cancelled
    rows = done * dice.randrange(4000, 7000)
    slower = 2.4 if ago == BAD_DAYS_AGO else 1
    processing = [slower * (0.1 + dice.lognormvariate(-0.3, 1.1)) for _ in range(done)]
    return Day(
        day,
        Tally(requested, done, failed, cancelled, rows, rows * 44),
        durations_of(processing),
        durations_of(dice.expovariate(9) for _ in range(done)),
    )


def _sum(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        for name, number in vars(tally).items():
            setattr(total, name, getattr(total, name) + number)
    return total
