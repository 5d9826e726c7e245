"""Warnings of failures that repeat every few seconds, or for every file, during an outage."""

import time
from typing import Any

import structlog

from app.errors import ServiceError

log = structlog.get_logger()

INTERVAL_S = 60.0


class LimitedWarnings:
    """Logs an event at once, then once a minute at most for each error code and ``fields``.

    ``suppressed`` in a line counts those since the line before.
    """

    def __init__(self, event: str, **fields: Any) -> None:
        self._event = event
        self._fields = fields
        self._logged_at: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def log(self, error: ServiceError) -> None:
        """Log an error, or count it."""
        code, now = error.code, time.monotonic()
        if now - self._logged_at.get(code, -INTERVAL_S) < INTERVAL_S:
            self._suppressed[code] = self._suppressed.get(code, 0) + 1
            return
        self._logged_at[code] = now
        log.warning(
            self._event,
            **self._fields,
            error=code,
            reason=str(error),
            suppressed=self._suppressed.pop(code, 0),
        )
