"""Asyncio tasks: cancel and wait for them, the first error of a task group, locks by key."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

RECANCEL_AFTER_S = 0.5


async def cancel_and_wait(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks and wait until all have ended; their exceptions are not raised.

    One cancel may not be enough: before Python 3.12, ``asyncio.wait_for``, which
    redis-py and aiosmtplib use, loses a cancellation that arrives together with
    the result (python/cpython issue 86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=RECANCEL_AFTER_S)


@asynccontextmanager
async def unwrap_exception_group() -> AsyncIterator[None]:
    """Raise a task group's first error itself, instead of the exception group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


class KeyedLocks:
    """A lock for each key, which exists as long as somebody has it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def acquire(self, key: Hashable, timeout_s: float) -> AsyncIterator[None]:
        """Hold the lock of ``key`` while the context is open; first come, first served.

        Raises:
            TimeoutError: the lock was not free within ``timeout_s`` seconds.
        """
        # This variable keeps the lock in the dictionary, which refers to it only weakly.
        lock = self._locks.setdefault(key, asyncio.Lock())
        # Around the waiting only: what the lock is for may take longer.
        async with asyncio.timeout(timeout_s):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
