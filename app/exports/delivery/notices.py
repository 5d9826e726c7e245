"""The notices of large lists: claimed, sent and recorded like mails, from a table.

A notice is due from the commit that made the list, is retried for a day, and is sent at most twice
where the mail server does not reply, under one ``Message-ID``. It says that a list was made, so
deleting the list does not withdraw it; it holds no link.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from app.config import Settings
from app.database.database import Database
from app.errors import LeaseLost, MailRefused, MailUnanswered, ServiceError
from app.exports.delivery.mail_message import notice_message
from app.exports.delivery.mail_outcome import UNANSWERED_MAX
from app.exports.log_events import export_log_context, log_notice_event
from app.models import EXPORT_COLUMN_LIST, Export
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected
from app.ports import Mailer
from app.retry import full_jitter, retry_until

log = structlog.get_logger()

BATCH = 8

LEASE_S = 1800
"""No renewals: longer than a mail server may take in all (RFC 5321, section 4.5.3.2)."""

NOTICE_HELD = """
    list_notices.seller_id = :seller_id AND export_id = :id
    AND list_notices.status = 'pending' AND attempts = :attempts
"""

# MATERIALIZED: a join that repeated the subquery would lock and claim more than the limit.
CLAIM_DUE = f"""
    WITH due AS MATERIALIZED (
        SELECT seller_id, export_id
        FROM list_notices
        WHERE status = 'pending' AND due_at <= statement_timestamp()
        ORDER BY due_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE list_notices
    SET attempts = attempts + 1,
        due_at = clock_timestamp() + make_interval(secs => :lease_s)
    FROM exports
    WHERE (list_notices.seller_id, export_id) IN (SELECT seller_id, export_id FROM due)
    AND exports.seller_id = list_notices.seller_id AND exports.id = export_id
    RETURNING attempts, unanswered, {EXPORT_COLUMN_LIST}
"""

# The last look at the row: a frozen worker whose lease another one has taken sends nothing.
ALLOW_CONTENT = f"""
    UPDATE list_notices
    SET unanswered = unanswered + 1,
        due_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE {NOTICE_HELD}
    RETURNING unanswered
"""

SENT = f"""
    UPDATE list_notices
    SET status = 'sent', sent_at = clock_timestamp(), error = NULL
    WHERE {NOTICE_HELD}
    RETURNING status
"""

REFUSED = f"""
    UPDATE list_notices
    SET status = 'failed', error = :detail
    WHERE {NOTICE_HELD}
    RETURNING status
"""

# `unanswered` is absolute, because the statement is repeated where its commit was not confirmed.
DEFERRED = f"""
    UPDATE list_notices
    SET status = CASE
            WHEN :unanswered >= {UNANSWERED_MAX}
                OR created_at < statement_timestamp() - make_interval(secs => :give_up_s)
                THEN 'failed'
            ELSE 'pending'
        END,
        due_at = clock_timestamp() + make_interval(secs => :delay_s),
        unanswered = :unanswered,
        error = :detail
    WHERE {NOTICE_HELD}
    RETURNING status
"""


class NoticeLease:
    """A notice that this process has claimed; each statement is guarded by the attempt's number."""

    def __init__(self, database: Database, row: dict[str, Any]) -> None:
        self.attempts: int = row.pop("attempts")
        self.unanswered: int = row.pop("unanswered")
        self.export = Export(**row)
        self._database = database

    async def authorize_content(self) -> None:
        """Allow the content to be sent, and count it as unanswered until the server replies.

        Raises:
            LeaseLost: another worker has the notice.
            DatabaseUnavailable: the row could not be checked.
        """
        if await self.change(ALLOW_CONTENT, lease_s=LEASE_S) is None:
            raise LeaseLost("Another worker has the notice.")
        # Only after the statement: where it fails, no content leaves.
        self.unanswered += 1

    async def change(self, sql: str, **values: float | str) -> object:
        """Execute a statement on the row; ``None`` where the notice is no longer ours."""
        key = {"seller_id": self.export.seller_id, "id": self.export.id}
        row = await self._database.fetchrow(sql, attempts=self.attempts, **key, **values)
        return None if row is None else row[0]


class NoticeOutbox:
    """Sends the notices that are due to ``NOTIFY_EMAIL``; without it none is sent."""

    def __init__(
        self,
        database: Database,
        mailer: Mailer,
        settings: Settings,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._settings = settings
        self._metrics = metrics or Metrics()

    async def send_due(self) -> int:
        """Send what is due, some at once, and return how many notices that were.

        After one that was not sent, the rest waits for the next call: the mail server has a pause.

        Raises:
            DatabaseUnavailable: what was claimed is due again after the lease.
        """
        recipient = self._settings.notify_email
        claimed, sent = 0, BATCH
        while recipient is not None and sent == BATCH:
            rows = await self._database.fetch(CLAIM_DUE, limit=BATCH, lease_s=LEASE_S)
            claimed += len(rows)
            sent = await self._send_all(
                [NoticeLease(self._database, dict(row)) for row in rows], recipient
            )
        return claimed

    async def _send_all(self, leases: Sequence[NoticeLease], recipient: str) -> int:
        """Send some notices at once, and return how many were sent."""
        # All end before an error is raised: none goes on alone, and none is cancelled by another.
        ends = await asyncio.gather(
            *(self._send(lease, recipient) for lease in leases), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return ends.count(True)

    async def _send(self, lease: NoticeLease, recipient: str) -> bool:
        """Send a notice and record what became of it; return whether it was sent."""
        # Read first: `authorize_content` adds one, which a reply of the server takes back.
        sent_before = lease.unanswered
        with export_log_context(lease.export):
            try:
                if sent_before >= UNANSWERED_MAX:
                    raise MailUnanswered("Its senders died before the mail server's answer.")  # noqa: TRY301
                message = notice_message(lease.export, self._settings, recipient)
                await self._mailer.send(message, lease.authorize_content)
            except ServiceError as error:
                await self._settle(lease, sent_before, error)
            except Exception as error:  # one notice must not stop the others
                report_unexpected(self._metrics, "notices")
                await self._settle(lease, sent_before, MailUnanswered(type(error).__name__))
            else:
                await self._record(lease, "sent", SENT)
                return True
        return False

    async def _settle(self, lease: NoticeLease, sent_before: int, error: ServiceError) -> None:
        """Record why a notice was not sent; one that the server refused is not tried again."""
        detail = getattr(error, "detail", str(error))
        match error:
            case LeaseLost():
                log.info("mail lease lost")
            case MailRefused():
                await self._record(lease, "refused", REFUSED, detail=detail)
            case _:
                # An answer came, unless the error says otherwise.
                is_unanswered = isinstance(error, MailUnanswered)
                await self._record(
                    lease,
                    "unanswered" if is_unanswered else "deferred",
                    DEFERRED,
                    detail=detail,
                    unanswered=lease.unanswered if is_unanswered else sent_before,
                    delay_s=self._delay_s(lease, is_unanswered=is_unanswered),
                    give_up_s=self._settings.mail_retry_max_age_s,
                )

    def _delay_s(self, lease: NoticeLease, *, is_unanswered: bool) -> float:
        settings = self._settings
        if is_unanswered:
            return settings.mail_unanswered_retry_s
        return full_jitter(settings.mail_retry_base_s, settings.mail_retry_max_s, lease.attempts)

    async def _record(
        self, lease: NoticeLease, outcome: str, sql: str, **values: float | str
    ) -> None:
        """Record, count and log an outcome.

        Raises:
            DatabaseUnavailable: for ``record_timeout_s``; the notice is due again after its lease.
        """
        status = await retry_until(
            partial(lease.change, sql, **values), self._settings.record_timeout_s
        )
        if status is None:
            return
        is_given_up = status == "failed" and sql is DEFERRED
        self._metrics.mails.labels("notice", "given_up" if is_given_up else outcome).inc()
        log_notice_event(lease.export, str(status), values.get("detail"))
