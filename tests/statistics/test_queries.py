"""Statistics: the same from rows and from the roll-up, whichever rows are deleted in between."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.exports.cleanup.expiry import ExpirationTask
from app.statistics.duration_sketch import ERROR
from app.statistics.queries import Statistics, read_statistics
from tests.fakes import MemoryExportEvents, MemoryStorage

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "expired", "deleted")
DONE = ("succeeded", "expired", "deleted")
SOURCES = (["follower"], ["follower", "customer"], ["affiliate"])
CODES = ("storage_refused", "worker_lost")


@dataclass(frozen=True)
class Row:
    """An export as a test put it into the table."""

    seller_id: int
    day: date
    status: str
    sources: list[str]
    code: str
    queue_s: float
    processing_s: float
    rows: int

    @property
    def has_file(self) -> bool:
        """Whether it ever had a file."""
        return self.status in DONE


def today() -> date:
    """Return the day in UTC as it is now: a run of all tests can last over midnight."""
    return datetime.now(UTC).date()


def random_rows(seed: int, count: int, days: int) -> list[Row]:
    """Return some exports of the last days."""
    dice = random.Random(seed)
    return [
        Row(
            seller_id=dice.randint(1, 15),
            day=today() - timedelta(days=dice.randrange(days)),
            status=dice.choice(STATUSES),
            sources=dice.choice(SOURCES),
            code=dice.choice(CODES),
            queue_s=dice.expovariate(2) + 0.002,
            processing_s=dice.lognormvariate(0, 1.5) + 0.002,
            rows=dice.randrange(10_000),
        )
        for _ in range(count)
    ]


async def insert(connection: Connection, rows: list[Row]) -> None:
    """Put exports into the table; their files' time was over a week after their end."""
    values = []
    for row in rows:
        created_at = datetime.combine(row.day, datetime.min.time(), UTC)
        started_at = created_at + timedelta(seconds=row.queue_s)
        finished_at = started_at + timedelta(seconds=row.processing_s)
        ended = finished_at if row.status not in ("queued", "running") else None
        expires_at = finished_at + timedelta(days=7) if row.has_file else None
        code = row.code if row.status != "queued" else None
        values.append(
            (
                *(row.seller_id, row.status, row.sources, created_at, started_at, ended),
                *(expires_at, row.rows if row.has_file else None, code),
            )
        )
    await connection.executemany(
        """
        INSERT INTO exports (
            columns, spreadsheet_safe, bom, recipient_email, fingerprint, seller_id, status,
            sources, created_at, started_at, finished_at, expires_at, file_rows, file_bytes,
            error_code, due_at
        )
        VALUES (
            '{email}', true, false, 's@example.com', uuid_send(uuidv4()), $1, $2, $3, $4, $5,
            $6, $7, $8::bigint, $8::bigint * 10, $9, $4
        )
        """,
        values,
    )


def assert_exact(statistics: Statistics, rows: list[Row]) -> None:
    """Fail unless every number is what counting the exports one by one gives."""
    count = Counter("succeeded" if row.has_file else row.status for row in rows)
    total = statistics.total
    assert (total.requested, total.succeeded) == (len(rows), count["succeeded"])
    assert (total.failed, total.cancelled) == (count["failed"], count["cancelled"])
    assert total.rows == sum(row.rows for row in rows if row.has_file)
    assert total.bytes == total.rows * 10
    per_day = Counter(row.day for row in rows)
    assert {d.day: d.counts.requested for d in statistics.per_day if d.counts.requested} == per_day
    assert {k: t.requested for k, t in statistics.by_sources.items()} == Counter(
        tuple(row.sources) for row in rows
    )
    assert statistics.errors == Counter(row.code for row in rows if row.status == "failed")
    requested = Counter(row.seller_id for row in rows)
    ranked = sorted(requested.items(), key=lambda each: (-each[1], each[0]))[:10]
    assert [(s.seller_id, s.counts.requested) for s in statistics.top_sellers] == ranked
    for durations, measured in (
        (statistics.processing, sorted(row.processing_s for row in rows if row.has_file)),
        (statistics.queue, sorted(row.queue_s for row in rows if row.has_file)),
    ):
        assert durations.count == len(measured)
        assert durations.mean_s == pytest.approx(sum(measured) / len(measured), rel=1e-4)
        middle = measured[-(-len(measured) // 2) - 1]
        assert durations.quantile_s(0.5) == pytest.approx(middle, rel=ERROR + 0.001)


@pytest.fixture
def expiry(
    database: Database, storage: MemoryStorage, export_events: MemoryExportEvents
) -> ExpirationTask:
    """A worker's expiry."""
    return ExpirationTask(database, storage, export_events)


async def test_no_number_changes_when_rows_are_forgotten(
    database: Database, connection: Connection, expiry: ExpirationTask
) -> None:
    rows = random_rows(1, count=600, days=100)
    await insert(connection, rows)
    assert_exact(await read_statistics(database, 100), rows)
    for _ in range(2):
        await expiry.prune()
        assert_exact(await read_statistics(database, 100), rows)
    assert 0 < await connection.fetchval("SELECT count(*) FROM exports") < 500
    more = random_rows(2, count=200, days=100)
    await insert(connection, more)
    await expiry.prune()
    assert_exact(await read_statistics(database, 100), rows + more)


async def test_workers_that_forget_at_once_count_everything_once(
    database: Database, connection: Connection, expiry: ExpirationTask
) -> None:
    rows = random_rows(3, count=900, days=90)
    await insert(connection, rows)
    await asyncio.gather(*(expiry.prune() for _ in range(4)))
    assert_exact(await read_statistics(database, 90), rows)


async def test_only_the_days_requested_count(database: Database, connection: Connection) -> None:
    rows = random_rows(4, count=300, days=20)
    await insert(connection, rows)
    for days in (1, 7, 20):
        statistics = await read_statistics(database, days)
        assert [day.day for day in statistics.per_day] == [
            today() - timedelta(days=ago) for ago in reversed(range(days))
        ]
        recent = [row for row in rows if row.day > today() - timedelta(days=days)]
        assert statistics.total.requested == len(recent)


async def test_the_days_before_are_read_to_compare_and_count_nowhere_else(
    database: Database, connection: Connection, expiry: ExpirationTask
) -> None:
    rows = random_rows(7, count=400, days=80)
    await insert(connection, rows)
    await expiry.prune()
    for days in (1, 2, 40):
        statistics = await read_statistics(database, days, is_compared=True)
        alone = await read_statistics(database, days)
        assert replace(statistics, before=[]) == alone
        assert [day.day for day in statistics.before] == [
            today() - timedelta(days=days - 1 + ago) for ago in reversed(range(1, days))
        ]
        found = {day.day: day.counts.requested for day in statistics.before}
        assert found == {day: sum(row.day == day for row in rows) for day in found}


async def test_the_failure_rate_is_of_what_succeeded_or_failed(
    database: Database, connection: Connection
) -> None:
    nothing = await read_statistics(database, 1)
    assert nothing.total.failure_rate == 0
    assert nothing.processing.quantile_s(0.95) is None
    rows = [row for row in random_rows(5, count=200, days=1) if row.status != "succeeded"]
    await insert(connection, rows)
    failed = sum(row.status == "failed" for row in rows)
    done = sum(row.has_file for row in rows)
    statistics = await read_statistics(database, 1)
    assert statistics.total.failure_rate == pytest.approx(failed / (failed + done))


async def test_a_day_ends_at_midnight_in_utc(database: Database, connection: Connection) -> None:
    await insert(connection, random_rows(6, count=3, days=1))
    midnight = datetime.combine(today(), datetime.min.time(), UTC)
    before = midnight - timedelta(microseconds=1)
    await connection.execute("UPDATE exports SET created_at = $1", midnight)
    await connection.execute(
        "UPDATE exports SET created_at = $1 WHERE id = (SELECT id FROM exports LIMIT 1)", before
    )
    statistics = await read_statistics(database, 2)
    assert [day.counts.requested for day in statistics.per_day] == [1, 2]
