"""Metrics that all processes share, read from database and Redis at scrape time, with a cache."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.errors import ServiceError
from app.observability.metrics import MetricValues, metric_families

log = structlog.get_logger()

CACHE_TTL_S = 5.0
"""Scraping needs no token: the cache bounds how often it causes queries."""

TIMEOUT_S = 2.0

Reader = Callable[[], Awaitable[MetricValues]]


class SharedMetricsCollector(Collector):
    """Collects from each dependency; the metrics of one that does not answer in time are absent."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers
        self._values: dict[str, float | Mapping[str, float]] = {}
        self._read_at = -CACHE_TTL_S
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read all values again unless they are younger than ``CACHE_TTL_S``."""
        async with self._lock:
            # Inside the lock: scrapes that waited for it use what the first one read.
            if time.monotonic() - self._read_at < CACHE_TTL_S:
                return
            results = await asyncio.gather(*map(self._read, self._readers))
            up = {
                name: float(result is not None)
                for name, result in zip(self._readers, results, strict=True)
            }
            self._values = {"dependency_up": up}
            for result in results:
                self._values |= result or {}
            self._read_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield the values of the last refresh."""
        return metric_families(self._values)

    async def _read(self, name: str) -> MetricValues | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._readers[name]()
        except (ServiceError, TimeoutError) as error:
            log.debug("shared metrics unavailable", dependency=name, error=type(error).__name__)
        except Exception:  # the scrape must still return this process's own metrics
            log.exception("unexpected error", component="metrics", dependency=name)
        return None
