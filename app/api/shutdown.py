"""The word that the server is going down, for answers that take their time.

uvicorn waits for open connections before it ends the lifespan, so whatever
waits in a request must hear of the signal itself.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from app.ending import end

SIGNALS = (signal.SIGTERM, signal.SIGINT)

T = TypeVar("T")


class Shutdown:
    """Set once, by the first signal to stop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the server is going down."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Let everything that waits end now."""
        self._begun.set()

    async def unless_begun(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        """Return the result of ``work``, or ``otherwise`` when the server goes down first."""
        working = asyncio.ensure_future(work)
        begun = asyncio.ensure_future(self._begun.wait())
        try:
            await asyncio.wait({working, begun}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else otherwise
        finally:
            await end(working, begun)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Begin on SIGTERM or SIGINT as well, before the server's own handler runs.

        Where nobody handles a signal, it is left alone: it ends the process.
        Outside the main thread there are no signals.
        """
        loop = asyncio.get_running_loop()
        previous = {number: signal.getsignal(number) for number in SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
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
