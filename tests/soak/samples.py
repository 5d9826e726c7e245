"""Samples of what could grow: processes, rows, keys in Redis, objects in the bucket."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import asyncpg
import psutil
import redis
from botocore.exceptions import BotoCoreError, ClientError

from app.database.connections import connect
from app.errors import DatabaseUnavailable
from tests.chaos.environment import Environment
from tests.chaos.invariants import bucket_of
from tests.soak.ageing import age_rows
from tests.soak.slopes import Series

TIMEOUT_S = 5.0

MEMORY, FILES, THREADS = "resident memory, MB", "open files", "threads"
TO_POSTGRES, TO_REDIS = "connections to PostgreSQL", "connections to Redis"
ROWS = "rows of {}"
SESSIONS, KEYS, OBJECTS, UPLOADS = "sessions", "keys", "objects", "incomplete uploads"

TABLES = (
    "exports",
    "idempotency_keys",
    "export_audit",
    "webhook_deliveries",
    "list_notices",
    "source_keys",
    "audience_members",
    "periodic_tasks",
)
"""Those whose rows are deleted some day. Sums by day and seller grow by design, and few rows."""

COUNT_ROWS = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in TABLES)

COUNT_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"

AWAY = (DatabaseUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""While PostgreSQL is unavailable, its samples are missing."""


class Sampler:
    """Samples at an interval, and lets time pass for the rows, past the proxies.

    Attributes:
        mails: how many messages have arrived; they are deleted.
    """

    def __init__(self, environment: Environment, pids: dict[str, int], every_s: float) -> None:
        self.mails = 0
        self._environment = environment
        self._pids = pids
        self._every_s = every_s
        self._begun_at = time.monotonic()
        self._points: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    @property
    def series(self) -> list[Series]:
        """What was sampled so far."""
        return [Series(*name, points) for name, points in self._points.items()]

    async def sample_for_ever(self) -> None:
        """Take a sample of everything at each interval."""
        while True:
            await self.sample()
            await asyncio.sleep(self._every_s)

    async def sample(self) -> None:
        """Take a sample of everything that is available."""
        for name, pid in self._pids.items():
            self._add(name, _of_process(self._environment, pid))
        with contextlib.suppress(*AWAY):
            self._add("PostgreSQL", iter(await self._of_database()))
        with contextlib.suppress(redis.RedisError):
            self._add("Redis", iter([await asyncio.to_thread(self._of_redis)]))
        with contextlib.suppress(BotoCoreError, ClientError):
            stored, uploads = await asyncio.to_thread(bucket_of, self._environment)
            self._add("bucket", iter([(OBJECTS, len(stored)), (UPLOADS, len(uploads))]))
        await asyncio.to_thread(self._empty_mailbox)
        self._environment.s3_proxy.seen.clear()
        self._environment.smtp_proxy.seen.clear()

    def _add(self, subject: str, values: Iterator[tuple[str, float]]) -> None:
        at = time.monotonic() - self._begun_at
        for measure, value in values:
            self._points[subject, measure].append((round(at, 2), value))

    async def _of_database(self) -> list[tuple[str, float]]:
        async with asyncio.timeout(TIMEOUT_S):
            connection = await connect(self._environment.settings["DATABASE_URL"])
            try:
                await age_rows(connection)
                rows = await connection.fetch(COUNT_ROWS)
                sessions = await connection.fetchval(COUNT_SESSIONS, self._environment.role.name)
            finally:
                connection.terminate()
        return [*((ROWS.format(table), count) for table, count in rows), (SESSIONS, sessions)]

    def _of_redis(self) -> tuple[str, float]:
        url = self._environment.redis.url()
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S) as client:
            return KEYS, client.dbsize()

    def _empty_mailbox(self) -> None:
        for path in self._environment.smtp.messages():
            path.unlink()
            self.mails += 1


def _of_process(environment: Environment, pid: int) -> Iterator[tuple[str, float]]:
    process = psutil.Process(pid)
    with process.oneshot():
        yield MEMORY, process.memory_info().rss / 1e6
        yield FILES, process.num_fds()
        yield THREADS, process.num_threads()
    ports = [each.raddr.port for each in process.net_connections("tcp") if each.raddr]
    yield TO_POSTGRES, ports.count(environment.postgres.port)
    yield TO_REDIS, ports.count(environment.redis.port)


ROWS_GROWTH, ROWS_GROWTH_PART = 5, 0.1

TOLERANCES: dict[str, float] = {
    MEMORY: 8,
    **dict.fromkeys((FILES, THREADS, TO_POSTGRES, TO_REDIS, SESSIONS, KEYS), 2),
    UPLOADS: 1,
}


def tolerance_of(measure: str, level: float) -> float:
    """Return how much a series of this measure may grow in an hour.

    Rows and objects may by a tenth of their ``level`` and five.
    """
    return TOLERANCES.get(measure, ROWS_GROWTH + ROWS_GROWTH_PART * level)
