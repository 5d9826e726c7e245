"""Warnings of failures that repeat every few seconds, or for every file, during an outage."""

import time
from typing import Any

import structlog

from app.errors import ServiceError

log = structlog.get_logger()

INTERVAL_S = 60.0

REASONS_MAX = 20
"""How many reasons are told apart; further ones of an error code count as one."""


class LimitedWarnings:
    """Logs an event at once, then once a minute at most for each reason and ``fields``.

    A session that was ended is one reason, a server that lets nobody in afterwards another.
    ``suppressed`` in a line counts those since the line before.
    """

    def __init__(self, event: str, **fields: Any) -> None:
        self._event = event
        self._fields = fields
        self._logged_at: dict[tuple[str, str], float] = {}
        self._suppressed: dict[tuple[str, str], int] = {}

    def log(self, error: ServiceError) -> None:
        """Log an error, or count it."""
        reason, now = (error.code, str(error)), time.monotonic()
        if reason not in self._logged_at and len(self._logged_at) >= REASONS_MAX:
            reason = (error.code, "")  # the words differ each time: all count as one
        # Not 0: the monotonic clock may begin there, and the first warning would be suppressed.
        if now - self._logged_at.get(reason, -INTERVAL_S) < INTERVAL_S:
            self._suppressed[reason] = self._suppressed.get(reason, 0) + 1
            return
        self._logged_at[reason] = now
        log.warning(
            self._event,
            **self._fields,
            error=error.code,
            reason=str(error),
            suppressed=self._suppressed.pop(reason, 0),
        )
