"""Large exports give way: their streams pause while small exports of the same process run."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from app.exports.execution.multipart_upload import Progress

PAUSED_SHARE = 0.1
"""How long a stream may pause for each second that it reads.

The small exports themselves take processor time from it, about as much again and more.
"""

PAUSE_MAX_S = 1.0
"""How long a stream pauses at a time, at most, however long it read before."""

PAUSE_MIN_S = 0.005
"""A shorter pause is not worth its timer."""


class YieldGate:
    """Knows whether a small export runs in this process; streams of large ones wait here.

    Attributes:
        paused: how many streams wait now.
    """

    def __init__(self) -> None:
        self.paused = 0
        self._small_exports = 0
        self._is_free = asyncio.Event()
        self._is_free.set()

    @property
    def is_busy(self) -> bool:
        """Whether a small export runs."""
        return self._small_exports > 0

    @contextmanager
    def small_export(self) -> Iterator[None]:
        """Have large exports pause while the context is open."""
        self._small_exports += 1
        self._is_free.clear()
        try:
            yield
        finally:
            self._small_exports -= 1
            if not self.is_busy:
                self._is_free.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait until no small export runs, for ``timeout_s`` at most."""
        self.paused += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._is_free.wait()
        finally:
            self.paused -= 1


class StreamPauses:
    """The pauses of one stream, whose sum is bounded by the time that it read."""

    def __init__(
        self,
        gate: YieldGate | None,
        progress: Progress,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._progress = progress
        self._now = now
        self._reads_since = now()
        self._allowed_s = 0.0

    async def give_way(self) -> float:
        """Pause while a small export runs and it is allowed; return for how many seconds.

        Without a ``gate`` it never pauses. A pause is no stall.
        """
        if self._gate is None or not self._gate.is_busy:
            return 0.0
        began_at = self._now()
        earned_s = (began_at - self._reads_since) * PAUSED_SHARE
        self._allowed_s = min(PAUSE_MAX_S, self._allowed_s + earned_s)
        # Also without a pause: what was earned so far is in `_allowed_s` and counts once.
        self._reads_since = began_at
        if self._allowed_s < PAUSE_MIN_S:
            return 0.0
        self._progress.touch()
        await self._gate.wait(self._allowed_s)
        self._progress.touch()
        self._reads_since = self._now()
        paused_s = self._reads_since - began_at
        self._allowed_s -= paused_s
        return paused_s
