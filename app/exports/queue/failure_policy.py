"""Which failures end an export for good, and what its seller reads then."""

from datetime import UTC, datetime

from app.config import Settings
from app.errors import ObjectNotFound, PermanentError, ServiceError, Unexpected
from app.models import Export

WORKER_LOST = "worker_lost"

WORKER_LOST_DETAIL = (
    "The workers that made the file stopped again and again. "
    "Please tell the operator of this service."
)

COUNTS_AS_FAILURE = (Unexpected, ObjectNotFound)
"""Errors that no outage explains: a defect, or an upload that was removed from outside."""


class FailurePolicy:
    """Decides from an export's row whether another attempt is made.

    Temporary errors are tried again until the export is ``retry_max_age_s`` old, since an
    operator's retry if any, and has had ``max_failures`` attempts; those that no outage explains
    count, with lost workers, up to ``max_failures`` in all. Others are final. Every error is, once
    the export is overdue.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def is_final(self, export: Export, error: ServiceError) -> bool:
        """Return whether an attempt that failed with this error was the last."""
        if self.is_overdue(export):
            return True
        # Before PermanentError, of which ObjectNotFound is one: a lost upload is worth another try.
        if isinstance(error, COUNTS_AS_FAILURE):
            return export.failures + 1 >= self._settings.max_failures
        if isinstance(error, PermanentError):
            return True
        is_old = _age_s(export.retried_at or export.created_at) >= self._settings.retry_max_age_s
        # Both: an export that was old when it was first claimed has its attempts, too.
        return is_old and export.attempt >= self._settings.max_failures

    def is_overdue(self, export: Export) -> bool:
        """Return whether the attempt under way is the last, however it ends."""
        begun_at = export.first_started_at
        return begun_at is not None and _age_s(begun_at) >= self._settings.last_attempt_after_s


def final_detail(error: ServiceError) -> str:
    """Return what happened and what to do, of an error that ended an export."""
    if isinstance(error, PermanentError):
        advice = "Only the operator of this service can change that; until then it will fail again."
    else:
        advice = "It was tried many times; please ask for the export again later."
    return f"{error} {advice}"


def _age_s(instant: datetime) -> float:
    return (datetime.now(UTC) - instant).total_seconds()
