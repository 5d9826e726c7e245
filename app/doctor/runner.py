"""Runs all checks in parallel, each with a time limit."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from app.config import Settings
from app.doctor import (
    bucket,
    clock,
    database,
    jwks,
    mail_templates,
    replica,
    settings,
    smtp,
    subscription,
)
from app.doctor import redis as redis_check
from app.doctor.findings import Check, CheckResult, failure
from app.errors import ServiceError, SettingsInvalid

CHECK_TIMEOUT_S = 30.0

CHECKS: tuple[Check, ...] = (
    settings.CHECK,
    database.CHECK,
    replica.CHECK,
    subscription.CHECK,
    redis_check.CHECK,
    bucket.CHECK,
    smtp.CHECK,
    mail_templates.CHECK,
    clock.CHECK,
    jwks.CHECK,
)
"""Every check, in the order of the report."""


async def run_checks(
    checks: tuple[Check, ...] = CHECKS, timeout_s: float = CHECK_TIMEOUT_S
) -> list[CheckResult]:
    """Read the settings and run ``checks`` in parallel.

    Each check has its own thread and event loop, so that one with long computations
    does not use up another's time limit. If settings are invalid, those failures are
    the only findings, since no check can run.
    """
    try:
        current = Settings()
    except ValidationError as error:
        return settings.validation_failures(error)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(checks)) as threads:
        running = (
            loop.run_in_executor(threads, _run_in_own_loop, check, current, timeout_s)
            for check in checks
        )
        found = await asyncio.gather(*running)
    return [finding for findings in found for finding in findings]


def _run_in_own_loop(check: Check, current: Settings, timeout_s: float) -> list[CheckResult]:
    return asyncio.run(_run_with_limit(check, current, timeout_s))


async def _run_with_limit(check: Check, current: Settings, timeout_s: float) -> list[CheckResult]:
    try:
        async with asyncio.timeout(timeout_s):
            return await check.run(current)
    except SettingsInvalid as error:
        return [failure(check.name, str(error), "fix the setting")]
    except ServiceError as error:
        return [failure(check.name, str(error), getattr(error, "advice", check.advice))]
    except TimeoutError:
        return [failure(check.name, f"No answer within {timeout_s:g} seconds.", check.advice)]
    except Exception as error:
        # Only the type: the message may hold host names or addresses.
        return [failure(check.name, f"The check crashed: {type(error).__name__}.", check.advice)]
