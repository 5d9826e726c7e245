"""Whether what the service needs can be reached."""

import asyncio
from collections.abc import Awaitable

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import transaction
from app.errors import ServiceError
from app.resources import Resources

CHECK_TIMEOUT_S = 2.0


async def reachable(resources: Resources) -> dict[str, bool]:
    """Return for database, queue and bucket whether each can be reached, within 2 s."""
    needed = {
        "database": _database(resources.engine),
        "queue": resources.queue.check(),
        "bucket": resources.storage.check(),
    }
    results = await asyncio.gather(*map(_is_reachable, needed.values()))
    return dict(zip(needed, results, strict=True))


def in_words(checks: dict[str, bool]) -> dict[str, str]:
    """Return the checks as they are told."""
    return {name: "reachable" if found else "unreachable" for name, found in checks.items()}


async def _database(engine: AsyncEngine) -> None:
    async with transaction(engine) as connection:
        await connection.execute(text("SELECT 1"))


async def _is_reachable(check: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except (ServiceError, SQLAlchemyError, OSError):
        return False
    return True
