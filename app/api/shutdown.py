"""The signal that the server is shutting down, for requests that wait.

uvicorn waits for open connections before it ends the lifespan, so a request
that waits for something must watch the signal itself.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from app.concurrency import cancel_and_wait

SIGNALS = (signal.SIGTERM, signal.SIGINT)

T = TypeVar("T")


class ShutdownSignal:
    """Set once, by the first signal to stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether the server is shutting down."""
        return self._event.is_set()

    def set(self) -> None:
        """End everything that waits in ``run_or_abort``."""
        self._event.set()

    async def run_or_abort(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        """Return the result of ``work``, or ``otherwise`` if the server shuts down first."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else otherwise
        finally:
            # Also where the caller is cancelled: asyncio.wait leaves its tasks running.
            await cancel_and_wait(task, stopping)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Set on SIGTERM or SIGINT too, before the server's own handler runs.

        A signal without a Python handler is left alone, since it ends the process.
        Outside the main thread this does nothing: Python allows no handlers there.
        """
        loop = asyncio.get_running_loop()
        previous = {number: signal.getsignal(number) for number in SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            # Not set() itself: in a signal handler that would not wake a loop that sleeps.
            loop.call_soon_threadsafe(self.set)
            handler = previous[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        is_main = threading.current_thread() is threading.main_thread()
        wrapped = [number for number in SIGNALS if is_main and callable(previous[number])]
        for number in wrapped:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number in wrapped:
                signal.signal(number, previous[number])
