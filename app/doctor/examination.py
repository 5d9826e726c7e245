"""All checks at once, each with a time limit, none with a traceback."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from app.config import Settings
from app.doctor import bucket, clock, database, feed, keys, mail, replica, settings
from app.doctor import redis as redis_check
from app.doctor.findings import Check, Finding, failure
from app.errors import ServiceError, SettingsInvalid

CHECK_TIMEOUT_S = 30.0

CHECKS: tuple[Check, ...] = (
    settings.CHECK,
    database.CHECK,
    replica.CHECK,
    feed.CHECK,
    redis_check.CHECK,
    bucket.CHECK,
    mail.CHECK,
    clock.CHECK,
    keys.CHECK,
)
"""What the doctor examines, in the order of the report."""


async def examine(
    checks: tuple[Check, ...] = CHECKS, timeout_s: float = CHECK_TIMEOUT_S
) -> list[Finding]:
    """Read the settings and examine everything they name, side by side.

    Each check has a thread and a loop of its own: one that computes for long
    must not make another's server seem slow. Unfit settings are failures, one
    each, and the only findings: what they should lead to is not known.
    """
    try:
        current = Settings()
    except ValidationError as error:
        return settings.faults(error)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(checks)) as threads:
        running = (
            loop.run_in_executor(threads, _run, check, current, timeout_s) for check in checks
        )
        found = await asyncio.gather(*running)
    return [finding for findings in found for finding in findings]


def _run(check: Check, current: Settings, timeout_s: float) -> list[Finding]:
    return asyncio.run(_examine(check, current, timeout_s))


async def _examine(check: Check, current: Settings, timeout_s: float) -> list[Finding]:
    try:
        async with asyncio.timeout(timeout_s):
            return await check.examine(current)
    except SettingsInvalid as error:
        return [failure(check.name, str(error), "mend the setting")]
    except ServiceError as error:
        return [failure(check.name, str(error), check.advice)]
    except TimeoutError:
        return [failure(check.name, f"No answer within {timeout_s:g} seconds.", check.advice)]
    except Exception as error:
        # A finding too, and no traceback; without its text, which may hold addresses.
        return [failure(check.name, f"The check broke: {type(error).__name__}.", check.advice)]
