"""How late the event loop is: what everything else in the process then is as well."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from app.ending import end

EVERY_S = 0.5
REMEMBERED_S = 60.0


class Lag:
    """Remembers how late the loop was during the last minute."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()

    def note(self, now: float, late_s: float) -> None:
        """Remember that the loop was ``late_s`` late, and forget what was a minute ago."""
        self._late.append((now, late_s))
        while self._late[0][0] < now - REMEMBERED_S:
            self._late.popleft()

    @property
    def worst_s(self) -> float:
        """The longest of the last minute."""
        return max((late_s for _, late_s in self._late), default=0.0)


@asynccontextmanager
async def watched_loop(gauge: Gauge) -> AsyncIterator[None]:
    """Show on ``gauge`` how late the running loop is, for as long as the context is open."""
    lag = Lag()
    gauge.set_function(lambda: lag.worst_s)
    watching = asyncio.create_task(_watch(lag), name="event loop lag")
    try:
        yield
    finally:
        await end(watching)


async def _watch(lag: Lag) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(EVERY_S)
        now = time.monotonic()
        lag.note(now, max(0.0, now - began - EVERY_S))
