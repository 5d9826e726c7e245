"""Retries: exponential backoff with full jitter, and retrying a write until a deadline."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import TemporaryError

PAUSE_S = 0.5

Result = TypeVar("Result")


def full_jitter(base_s: float, max_s: float, tries: int) -> float:
    """Return a random pause in seconds after ``tries`` (at least 1) failed tries.

    Its upper bound doubles with each try, up to ``max_s``. Without the
    randomness, clients that failed together would retry together (AWS
    Architecture Blog, "Exponential Backoff And Jitter").
    """
    # 2.0 ** 1024 raises OverflowError.
    doublings = min(tries - 1, 62)
    return random.uniform(0, min(max_s, base_s * 2.0**doublings))  # noqa: S311 - guards nothing


async def retry_until(change: Callable[[], Awaitable[Result]], for_s: float) -> Result:
    """Call ``change`` until it succeeds, for up to ``for_s`` seconds.

    ``change`` must be idempotent: the response to a commit may have been lost.

    Raises:
        TemporaryError: the last one, after ``for_s`` seconds.
    """
    deadline = time.monotonic() + for_s
    while True:
        try:
            return await change()
        except TemporaryError:
            if time.monotonic() + PAUSE_S > deadline:
                raise
        await asyncio.sleep(PAUSE_S)
