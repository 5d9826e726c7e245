"""Readiness: checks that database, queue and bucket can be reached."""

import asyncio
from collections.abc import Awaitable

import structlog

from app.database.database import Database
from app.errors import ServiceError
from app.resources import Resources

log = structlog.get_logger()

# Shorter than the probe's own limit (ops/kubernetes): then the answer names what is unreachable.
CHECK_TIMEOUT_S = 2.0


async def check_dependencies(resources: Resources) -> dict[str, bool]:
    """Return whether each dependency can be reached, by name, within ``CHECK_TIMEOUT_S``."""
    checks = {
        "database": _database(resources.database),
        "queue": resources.queue.check(),
        "bucket": resources.storage.check(),
    }
    results = await asyncio.gather(*map(_is_reachable, checks.values()))
    return dict(zip(checks, results, strict=True))


def as_status(checks: dict[str, bool]) -> dict[str, str]:
    """Return the results of the checks as ``/readyz`` shows them."""
    return {name: "reachable" if is_up else "unreachable" for name, is_up in checks.items()}


async def _database(database: Database) -> None:
    await database.execute("SELECT 1")


async def _is_reachable(check: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    # OSError is the base of TimeoutError, too.
    except (ServiceError, OSError):
        return False
    except Exception:  # /readyz must answer 503, not 500
        log.exception("unexpected error", component="readiness")
        return False
    return True
