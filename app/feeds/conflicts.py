"""Retry transactions that conflict with concurrent writes of the same people."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.database.errors import SERIALIZATION_FAILURES

TRIES = 5
PAUSE_MAX_S = 0.2

Result = TypeVar("Result")


async def retry_conflicts(write: Callable[[], Awaitable[Result]]) -> Result:
    """Call ``write``, one transaction, until it conflicts with no other, ``TRIES`` times at most.

    Raises:
        Exception: the last conflict, as it was raised, or any other error at once: after a lost
            connection the outcome is unknown.
    """
    for _ in range(TRIES - 1):
        try:
            return await write()
        except Exception as error:
            # asyncpg's own, or the cause of a translated one.
            if not isinstance(error, SERIALIZATION_FAILURES) and not isinstance(
                error.__cause__, SERIALIZATION_FAILURES
            ):
                raise
        # Random, so that transactions which conflicted do not meet again.
        await asyncio.sleep(random.uniform(0, PAUSE_MAX_S))  # noqa: S311 - guards nothing
    return await write()
