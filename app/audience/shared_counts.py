"""Counts that simultaneous callers share; those that cost much are cached for some seconds."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app.audience.counts import AudienceCounts, count_audience
from app.audience.period import ALWAYS, Period
from app.audience.replica import read_from_replica_or_primary
from app.database.database import Database

CACHE_S = 5.0
"""How long a count is cached, at most."""

CACHE_TIMES = 10
"""How many times as long as it took a count is cached: counting takes a tenth of a core at most."""

QUICK_S = 0.1
"""A count that took less, of up to about a million members, is made again for each caller."""


@dataclass(frozen=True)
class _Key:
    seller_id: int
    period: Period


@dataclass(frozen=True)
class _Cached:
    counts: AudienceCounts
    until: float


class SharedCounts:
    """Counts audiences with one query at a time for each seller and period.

    ``now`` is in monotonic seconds.
    """

    def __init__(
        self,
        audience_database: Database,
        database: Database,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience_database = audience_database
        self._database = database
        self._now = now
        self._running: dict[_Key, asyncio.Task[AudienceCounts]] = {}
        self._cache: dict[_Key, _Cached] = {}

    async def count(self, seller_id: int, period: Period = ALWAYS) -> AudienceCounts:
        """Count a seller's audience; see :func:`count_audience`.

        The count may be as old as the query of a caller that came before, and of a large audience
        ``CACHE_S`` older.

        Raises:
            DatabaseUnavailable: the server cannot be reached.
        """
        key = _Key(seller_id, period)
        cached = self._cache.get(key)
        if cached is not None and self._now() < cached.until:
            return cached.counts
        # Shielded: the caller whose request began the query may leave before the others.
        # No await before it begins: two callers would begin two queries.
        return await asyncio.shield(self._running.get(key) or self._begin(key))

    def _begin(self, key: _Key) -> asyncio.Task[AudienceCounts]:
        task = self._running[key] = asyncio.create_task(self._count(key))
        # Not a finally in _count(), which never runs where the task is cancelled before it starts.
        task.add_done_callback(lambda ended: self._end(key, ended))
        return task

    async def _count(self, key: _Key) -> AudienceCounts:
        began_at = self._now()
        counts = await read_from_replica_or_primary(
            self._audience_database,
            self._database,
            partial(count_audience, seller_id=key.seller_id, period=key.period),
        )
        self._remember(key, counts, took_s=self._now() - began_at)
        return counts

    def _remember(self, key: _Key, counts: AudienceCounts, took_s: float) -> None:
        now = self._now()
        # Every expired count is dropped: nothing else removes those that nobody requests again.
        self._cache = {each: cached for each, cached in self._cache.items() if now < cached.until}
        if took_s >= QUICK_S:
            self._cache[key] = _Cached(counts, now + min(CACHE_S, CACHE_TIMES * took_s))

    def _end(self, key: _Key, ended: asyncio.Task[AudienceCounts]) -> None:
        del self._running[key]
        if not ended.cancelled():
            ended.exception()  # looked at, even where every caller has left
