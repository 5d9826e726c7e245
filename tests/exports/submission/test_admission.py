"""Limits: when a client that is refused is told to try again."""

from dataclasses import replace

import pytest

from app.config import Settings
from app.errors import QueueFull, QuotaExceeded
from app.exports.submission.admission import AdmissionState, check_limits

QUIET = AdmissionState(None, None, None, waiting=0, active=0, recent=0, oldest_s=0.0)


@pytest.mark.parametrize(
    ("oldest_s", "retry_after_s"),
    [
        (0.2, 3600),
        (600.0, 3000),
        (3599.5, 1),
        # The hour is the statement's, and this the clock's, a moment later.
        (3600.1, 1),
    ],
)
def test_the_limit_an_hour_ends_an_hour_after_the_oldest(
    settings: Settings, oldest_s: float, retry_after_s: int
) -> None:
    recent = settings.max_exports_per_seller_per_hour
    with pytest.raises(QuotaExceeded) as refused:
        check_limits(replace(QUIET, recent=recent, oldest_s=oldest_s), settings)
    assert (refused.value.limit, refused.value.retry_after_s) == ("exports_per_hour", retry_after_s)


def test_an_active_export_may_have_ended_in_ten_seconds(settings: Settings) -> None:
    with pytest.raises(QuotaExceeded) as refused:
        check_limits(replace(QUIET, active=settings.max_active_exports_per_seller), settings)
    assert (refused.value.limit, refused.value.retry_after_s) == ("active_exports", 10)


def test_a_backlog_may_have_become_shorter_in_half_a_minute(settings: Settings) -> None:
    with pytest.raises(QueueFull) as refused:
        check_limits(replace(QUIET, waiting=settings.max_queued_exports), settings)
    assert refused.value.retry_after_s == 30
