"""Log lines of exports: one event for each change of a state, and the context of all others.

``export_id``, ``seller_id`` and ``attempt`` are bound once, by a context; calls pass only what
they add.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.models import AttemptKey, Export
from app.observability.correlation import log_context

log = structlog.get_logger()

WARNING_EVENTS = ("export failed", "lease reclaimed", "mail failed", "mail deferred")


def log_transition(event: str, export: Export, **more: object) -> None:
    """Write the line of a change that has been committed; ``export`` is the row after it."""
    with attempt_log_context(export.attempt_key):
        _write(event, {"status": export.status} | _state_fields(export) | more)


def log_mail_event(event: str, export: Export, email_status: str | None, **more: object) -> None:
    """Write the line of a change of the mail's state."""
    kind = "failed" if export.status == "failed" else "ready"
    # Not the recipient: no line of the log has an address (docs/data-protection.md).
    mail = {"kind": kind, "email_status": email_status, "email_attempt": export.email_attempts}
    with attempt_log_context(export.attempt_key):
        _write(event, mail | more)


def log_notice_event(export: Export, status: str, detail: object = None) -> None:
    """Write the line of a change of the state of a large list's notice."""
    events = {"pending": "mail deferred", "failed": "mail failed", "sent": "mail sent"}
    with attempt_log_context(export.attempt_key):
        _write(events[status], {"kind": "notice", "email_status": status, "detail": detail})


def attempt_log_context(attempt: AttemptKey) -> AbstractContextManager[None]:
    """Bind an attempt to every line that is logged while the context is open."""
    seller_id, export_id = attempt.export
    return structlog.contextvars.bound_contextvars(
        export_id=str(export_id), seller_id=seller_id, attempt=attempt.number
    )


@contextmanager
def export_log_context(export: Export) -> Iterator[None]:
    """Bind an export's latest attempt, and the request that asked for the export.

    For work outside that request: within one, lines name the request at hand.
    """
    with (
        log_context(export.request_id, export.traceparent),
        attempt_log_context(export.attempt_key),
    ):
        yield


def _write(event: str, fields: dict[str, Any]) -> None:
    is_warning = event in WARNING_EVENTS or fields.get("error") is not None
    present = {name: value for name, value in fields.items() if value is not None}
    log.log(logging.WARNING if is_warning else logging.INFO, event, **present)


def _state_fields(export: Export) -> dict[str, Any]:
    match export.status:
        case "running":
            return {"queue_s": queue_s(export)}
        case "succeeded":
            size = {"rows": export.file_rows, "bytes": export.file_bytes}
            return {"queue_s": queue_s(export), "duration_s": _duration_s(export), **size}
        case "failed":
            return {"duration_s": _duration_s(export), "error": export.error_code}
        case "queued" | "cancelled":
            return {"duration_s": _duration_s(export), "rows": export.rows_exported}
    return {}


def queue_s(export: Export) -> float | None:
    """Return how long the export waited for its latest attempt since that was due."""
    return None if export.started_at is None else _seconds(export.started_at - export.due_at)


def _duration_s(export: Export) -> float | None:
    """Return how long the latest attempt took; ``None`` where there was none."""
    if export.started_at is None:
        return None
    return _seconds((export.finished_at or datetime.now(UTC)) - export.started_at)


def _seconds(duration: timedelta) -> float:
    return round(max(0.0, duration.total_seconds()), 4)
