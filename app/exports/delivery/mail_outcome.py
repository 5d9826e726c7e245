"""Records what became of a mail: sent, refused, deferred, given up; each is counted and logged."""

import asyncio
import random

import structlog

from app.config import Settings
from app.errors import LeaseLost, MailDeferred, MailRefused, MailUnanswered, ServiceError
from app.exports.delivery.mail_lease import MAIL_LEASE_HELD, MailLease
from app.exports.log_events import log_mail_event
from app.exports.metrics import record_mail_outcome
from app.observability.metrics import Metrics
from app.retry import full_jitter

log = structlog.get_logger()

UNANSWERED_MAX = 2
"""How often at most the content is sent without an answer: a slow server may take each of them."""

WORKER_STOPPED = "worker_stopped"
STOPPED = "The worker stopped while it sent the mail."

SENT = f"""
    UPDATE exports
    SET email_status = 'sent',
        email_sent_at = clock_timestamp(),
        email_due_at = NULL,
        email_error = NULL
    WHERE {MAIL_LEASE_HELD}
    RETURNING email_status
"""

REFUSED = f"""
    UPDATE exports
    SET email_status = 'failed', email_due_at = NULL, email_error = :detail
    WHERE {MAIL_LEASE_HELD}
    RETURNING email_status
"""

# FOR UPDATE compares the lease again once the row is free; the UPDATE itself compares only keys.
# `unanswered` is absolute, because the statement is repeated where its commit was not confirmed.
# greatest() ignores NULL: a mail that was never requested again counts from the export's end.
DEFERRED = f"""
    UPDATE exports
    SET email_status = CASE WHEN gives_up THEN 'failed' ELSE 'pending' END,
        email_due_at = CASE
            WHEN NOT gives_up THEN clock_timestamp() + make_interval(secs => :delay_s)
        END,
        email_unanswered = :unanswered,
        email_error = :detail
    FROM (
        SELECT
            seller_id AS mail_seller_id,
            id AS mail_id,
            :unanswered >= {UNANSWERED_MAX}
                OR greatest(email_resent_at[cardinality(email_resent_at)], finished_at)
                    < statement_timestamp() - make_interval(secs => :give_up_s) AS gives_up
        FROM exports
        WHERE {MAIL_LEASE_HELD}
        FOR UPDATE
    ) AS mail
    WHERE seller_id = mail_seller_id AND id = mail_id
    RETURNING email_status
"""


class MailOutcome:
    """Records the outcome of sending a mail, in its row under its lease."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics

    async def record(self, lease: MailLease, error: BaseException | None) -> str | None:
        """Record what became of a mail and return the error's code; ``None``: it was sent.

        A cancellation is an outcome too: the worker stops.

        Raises:
            DatabaseUnavailable: the mail is due again after its lease.
        """
        match error:
            case None:
                if await lease.record(SENT):
                    record_mail_outcome(self._metrics, lease.export, "sent")
                return None
            case LeaseLost():
                log.info("mail lease lost")
            case MailRefused():
                await self._refuse(lease, error)
            # Before MailDeferred, its base: a mail that the server may have is not repeated soon.
            case MailUnanswered():
                await self._defer_unanswered(lease, error.detail)
            case MailDeferred():
                await self._defer(lease, error.code, error.detail)
            case ServiceError():
                await self._defer(lease, error.code, str(error))
            case asyncio.CancelledError() if not lease.may_be_sent:
                await self._defer(lease, WORKER_STOPPED, STOPPED, delay_s=0)
                return WORKER_STOPPED
            case asyncio.CancelledError():
                await self._defer_unanswered(lease, STOPPED)
                return WORKER_STOPPED
            case _:
                return await self._record_defect(lease, error)
        return error.code

    async def _record_defect(self, lease: MailLease, error: BaseException) -> str:
        code = type(error).__name__
        log.error("mail crashed", exc_info=error)
        self._metrics.unexpected_errors.labels("outbox").inc()
        if lease.may_be_sent:
            await self._defer_unanswered(lease, code)
        else:
            await self._defer(lease, code, code)
        return code

    async def _refuse(self, lease: MailLease, error: MailRefused) -> None:
        if await lease.record(REFUSED, detail=error.detail):
            record_mail_outcome(self._metrics, lease.export, "refused")
            why = {"error": error.code, "detail": error.detail}
            log_mail_event("mail failed", lease.export, "failed", **why)

    async def _defer_unanswered(self, lease: MailLease, detail: str) -> None:
        """Defer a mail that the server may have, for long; give it up the second time."""
        delay_s = self._settings.mail_unanswered_retry_s * random.uniform(1, 1.25)  # noqa: S311
        await self._defer(
            lease, MailUnanswered.code, detail, delay_s, lease.unanswered, "unanswered"
        )

    async def _defer(
        self,
        lease: MailLease,
        reason: str,
        detail: str,
        delay_s: float | None = None,
        unanswered: int | None = None,
        outcome: str = "deferred",
    ) -> None:
        """Make a mail due again after ``delay_s``, by default one that grows with the attempts."""
        settings, export = self._settings, lease.export
        if delay_s is None:
            delay_s = full_jitter(
                settings.mail_retry_base_s, settings.mail_retry_max_s, export.email_attempts
            )
        status = await lease.record(
            DEFERRED,
            delay_s=delay_s,
            give_up_s=settings.mail_retry_max_age_s,
            unanswered=export.email_unanswered if unanswered is None else unanswered,
            detail=detail,
        )
        if status is not None:
            is_pending = status == "pending"
            record_mail_outcome(self._metrics, export, outcome if is_pending else "given_up")
            event = "mail deferred" if is_pending else "mail failed"
            log_mail_event(event, export, status, error=reason, detail=detail)
