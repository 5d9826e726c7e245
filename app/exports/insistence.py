"""Trying again: how long to wait before, and for how long to insist."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import TemporaryError

PAUSE_S = 0.5

Result = TypeVar("Result")


def full_jitter(base_s: float, max_s: float, tries: int) -> float:
    """Return how long to wait after ``tries`` tries, one at least, that failed.

    Any time up to a bound that doubles with each, so that many who failed
    together do not come back together (AWS Architecture Blog, "Exponential
    Backoff And Jitter").
    """
    doublings = min(tries - 1, 62)
    return random.uniform(0, min(max_s, base_s * 2.0**doublings))  # noqa: S311 - guards nothing


async def insist(change: Callable[[], Awaitable[Result]], for_s: float) -> Result:
    """Do what must be recorded again and again while the database is away.

    Its answer may have been lost after it was done: ``change`` must bear that.

    Raises:
        TemporaryError: the last one, when ``for_s`` seconds have passed.
    """
    deadline = time.monotonic() + for_s
    while True:
        try:
            return await change()
        except TemporaryError:
            if time.monotonic() + PAUSE_S > deadline:
                raise
        await asyncio.sleep(PAUSE_S)
