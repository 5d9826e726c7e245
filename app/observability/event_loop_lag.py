"""Event loop lag: how late the loop runs a callback that is due."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from app.concurrency import cancel_and_wait

INTERVAL_S = 0.5
WINDOW_S = 60.0


class EventLoopLag:
    """The lag measured during the last ``WINDOW_S`` seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def record(self, now: float, lag_s: float) -> None:
        """Add a sample and drop those older than the window; ``now`` is monotonic seconds."""
        self._samples.append((now, lag_s))
        while self._samples[0][0] < now - WINDOW_S:
            self._samples.popleft()

    @property
    def max_s(self) -> float:
        """The largest sample in the window; 0 without samples."""
        return max((lag_s for _, lag_s in self._samples), default=0.0)


@asynccontextmanager
async def monitor_event_loop(gauge: Gauge) -> AsyncIterator[None]:
    """Export the running loop's maximum lag on ``gauge`` while the context is open."""
    lag = EventLoopLag()
    gauge.set_function(lambda: lag.max_s)
    monitor = asyncio.create_task(_measure(lag), name="event loop lag")
    try:
        yield
    finally:
        await cancel_and_wait(monitor)


async def _measure(lag: EventLoopLag) -> None:
    while True:
        started = time.monotonic()
        await asyncio.sleep(INTERVAL_S)
        now = time.monotonic()
        lag.record(now, max(0.0, now - started - INTERVAL_S))
