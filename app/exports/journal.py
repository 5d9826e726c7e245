"""The log of exports: one line for each change of a state, in the same words everywhere."""

import logging
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.correlation import correlated
from app.models import Export

log = structlog.get_logger()

GRAVE = ("export failed", "lease taken back", "mail failed", "mail deferred")


def noted(event: str, export: Export, **more: object) -> None:
    """Write the line of a change that has been committed; ``export`` is the row after it."""
    _write(event, names(export) | {"status": export.status} | _facts(export) | more)


def mail_noted(event: str, export: Export, email_status: str | None, **more: object) -> None:
    """Write the line of a change of the mail's state."""
    kind = "failed" if export.status == "failed" else "ready"
    mail = {"kind": kind, "email_status": email_status, "email_attempt": export.email_attempts}
    _write(event, names(export) | mail | more)


def names(export: Export) -> dict[str, Any]:
    """Return what an attempt is known by."""
    return {
        "export_id": str(export.id),
        "seller_id": export.seller_id,
        "attempt": export.attempt,
    }


def in_the_name_of(export: Export) -> AbstractContextManager[None]:
    """Name the request that asked for the export in every line while the context is open."""
    return correlated(export.request_id, export.traceparent)


def _write(event: str, facts: dict[str, Any]) -> None:
    is_grave = event in GRAVE or facts.get("error") is not None
    said = {name: value for name, value in facts.items() if value is not None}
    log.log(logging.WARNING if is_grave else logging.INFO, event, **said)


def _facts(export: Export) -> dict[str, Any]:
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
