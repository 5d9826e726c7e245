"""How many streams a large export has: more while each makes the copy faster."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.config import BEGIN_STREAMS, Settings
from app.ports import Lane

FASTER = 1.1
"""A stream stays when it makes the copy this many times as fast."""

WINDOW_S = 0.5
"""How long the speed is measured, at least: many times as long as a range takes."""

WINDOW_RANGES = 8
"""How many ranges of each stream are measured, at least: bytes leave the reorder buffer in bursts
of up to a range for each stream."""


@dataclass(frozen=True)
class StreamLimits:
    """How many streams a list begins with, and how many it has at most."""

    begin: int
    most: int


def stream_limits(settings: Settings, lane: Lane = "large") -> StreamLimits:
    """Return ``EXPORT_STREAMS``; where that is unset, only large exports may grow."""
    if settings.export_streams is not None:
        return StreamLimits(settings.export_streams, settings.export_streams)
    most = settings.export_streams_max if lane == "large" else BEGIN_STREAMS
    return StreamLimits(BEGIN_STREAMS, most)


@dataclass
class _Window:
    began_at: float
    began_bytes: int
    ranges: int = 0
    paused_s: float = 0.0


class StreamGrowth:
    """Adds one stream after the other, until one does not make the copy a tenth faster.

    That one is retired, and the number stays. A measurement covers a window of half a second and
    some ranges at least, in which the number of streams does not change.

    Attributes:
        streams: how many streams there should be now.
    """

    def __init__(self, limits: StreamLimits, now: Callable[[], float] = time.monotonic) -> None:
        self.streams = limits.begin
        self._most = limits.most
        self._now = now
        self._window: _Window | None = None
        self._bytes_per_s = 0.0
        self._is_settled = limits.begin >= limits.most

    def settle(self) -> None:
        """Add no further streams."""
        self._is_settled = True

    def drop_window(self) -> None:
        """Measure from the next range on: what was measured so far was disturbed."""
        self._window = None

    def note_pause(self, seconds: float) -> None:
        """Leave a pause of one stream out of the measurement; all pause for the same reason."""
        if self._window is not None:
            self._window.paused_s += seconds / self.streams

    def note_range(self, written_bytes: int) -> None:
        """Take note that a range was read by all streams, and decide after enough of them.

        Parameters:
            written_bytes: All bytes that were written so far, in order.
        """
        if self._is_settled:
            return
        window = self._window
        if window is None:
            self._window = _Window(self._now(), written_bytes)
            return
        window.ranges += 1
        elapsed_s = self._now() - window.began_at - window.paused_s
        if elapsed_s >= WINDOW_S and window.ranges >= WINDOW_RANGES * self.streams:
            self._window = None
            self._decide((written_bytes - window.began_bytes) / elapsed_s)

    def _decide(self, bytes_per_s: float) -> None:
        if bytes_per_s < self._bytes_per_s * FASTER:
            # The stream that was added last has the highest number: it ends after its range.
            self.streams -= 1
            self._is_settled = True
        elif self.streams == self._most:
            self._is_settled = True
        else:
            self._bytes_per_s = bytes_per_s
            self.streams += 1
