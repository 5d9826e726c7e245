"""What all processes share, read for Prometheus when it asks and kept for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.errors import ServiceError
from app.metrics import Facts, families

log = structlog.get_logger()

KEPT_S = 5.0
"""Nobody needs a token to scrape: however many do, the servers are asked this often."""

TIMEOUT_S = 2.0

Reader = Callable[[], Awaitable[Facts]]


class SharedFacts(Collector):
    """Asks each dependency; one that does not answer in time leaves its facts out."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers
        self._facts: dict[str, float | Mapping[str, float]] = {}
        self._read_at = -KEPT_S
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """Read everything again unless that was done a moment ago."""
        async with self._turn:
            if time.monotonic() - self._read_at < KEPT_S:
                return
            answers = await asyncio.gather(*map(self._read, self._readers))
            up = {
                name: float(answer is not None)
                for name, answer in zip(self._readers, answers, strict=True)
            }
            self._facts = {"dependency_up": up}
            for answer in answers:
                self._facts |= answer or {}
            self._read_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield what was read last."""
        return families(self._facts)

    async def _read(self, name: str) -> Facts | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._readers[name]()
        except (ServiceError, SQLAlchemyError, TimeoutError) as error:
            log.debug("facts not read", dependency=name, error=type(error).__name__)
            return None
