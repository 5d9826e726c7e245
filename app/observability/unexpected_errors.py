"""Unexpected errors: log them with their trace, count them, and keep running."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from app.observability.metrics import Metrics

log = structlog.get_logger()

RESTART_MIN_S = 0.5
RESTART_MAX_S = 30.0


def report_unexpected(metrics: Metrics, component: str, **fields: Any) -> None:
    """Log the exception being handled with its trace, and count it under ``component``.

    ``fields`` are added to the log line.
    """
    log.exception("unexpected error", component=component, **fields)
    metrics.unexpected_errors.labels(component).inc()


def backoff_s(base_s: float, max_s: float, failures: int) -> float:
    """Return the pause after ``failures`` consecutive failures: it doubles up to ``max_s``."""
    # The exponent is limited: 2.0 ** 1024 raises OverflowError.
    return min(max_s, base_s * 2.0 ** min(failures, 32))


def is_cancelled() -> bool:
    """Return whether the current task itself was cancelled.

    A ``CancelledError`` may also come from an awaited future that was
    cancelled. This counts as its failure and must not end the waiting task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def run_forever(
    component: str, work: Callable[[], Awaitable[None]], metrics: Metrics
) -> None:
    """Run ``work``, and restart it with backoff whenever it returns or fails, until cancelled."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        started_at = loop.time()
        try:
            await work()
        except (Exception, asyncio.CancelledError):
            if is_cancelled():
                raise
            report_unexpected(metrics, component)
        failures = 0 if loop.time() - started_at > RESTART_MAX_S else failures + 1
        await asyncio.sleep(backoff_s(RESTART_MIN_S, RESTART_MAX_S, failures))
