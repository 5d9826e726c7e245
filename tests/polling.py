"""Wait for a condition instead of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

POLL_S = 0.01

HANGS_S = 30.0
"""What takes longer hangs: on the busiest machine nothing that is tested takes half as long."""


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = HANGS_S) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        TimeoutError: it did not hold ``within_s`` seconds.
    """
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - the other end is another process
            await asyncio.sleep(POLL_S)
