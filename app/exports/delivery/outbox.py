"""The outbox: claims mails that are due and sends them, each under its lease."""

import asyncio
import time

import structlog

from app.concurrency import cancel_and_wait
from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.database.database import Database
from app.database.queue_starts import MAILS, start_of
from app.errors import MailUnanswered
from app.exports.audit import NO_CONTEXT, record_url
from app.exports.delivery.links import LinkSigner, download_link
from app.exports.delivery.mail_lease import MailLease
from app.exports.delivery.mail_message import export_message
from app.exports.delivery.mail_outcome import UNANSWERED_MAX, WORKER_STOPPED, MailOutcome
from app.exports.log_events import export_log_context, log_mail_event
from app.models import EXPORT_COLUMN_LIST, Export
from app.observability.metrics import Metrics
from app.observability.tracing import NOOP_TRACER, SpanAttributes, Tracer, set_error
from app.ports import Mailer, ObjectStorage

log = structlog.get_logger()

# Shorter than RELEASE_TIMEOUT_S of workers/__main__.py, after which the process exits.
RELEASE_TIMEOUT_S = 1.0

# statement_timestamp(), because clock_timestamp() is volatile and no condition of an index scan.
MAIL_IS_DUE = f"""
    email_status = 'pending' AND email_due_at <= statement_timestamp()
    AND email_due_at >= {start_of(f"'{MAILS}'")}
    AND (expires_at IS NULL OR expires_at > statement_timestamp())
"""

# MATERIALIZED: a join that repeated the subquery would lock and claim more than the limit.
CLAIM_DUE = f"""
    WITH due AS MATERIALIZED (
        SELECT seller_id, id
        FROM exports
        WHERE {MAIL_IS_DUE}
        ORDER BY email_due_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE exports
    SET email_attempts = email_attempts + 1,
        email_due_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE (seller_id, id) IN (SELECT seller_id, id FROM due)
    RETURNING {EXPORT_COLUMN_LIST}
"""


class Outbox:
    """Sends the mails of exports that have ended.

    A mail is leased for ``mail_lease_s``, and the lease is renewed while the server takes the mail.
    Just before its content is sent, the row is checked once more and counts it as unanswered. A
    crash between the server's answer and our commit sends it twice, under the same ``Message-ID``.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer,
        storage: ObjectStorage,
        links: LinkSigner,
        settings: Settings,
        metrics: Metrics | None = None,
        tracer: Tracer = NOOP_TRACER,
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._storage = storage
        self._links = links
        self._settings = settings
        self._outcome = MailOutcome(settings, metrics or Metrics())
        self._tracer = tracer

    async def claim_due(self, limit: int) -> list[Export]:
        """Claim up to ``limit`` mails that are due, to send them now.

        The mail of an expired file is not sent: its link would not open.

        Raises:
            DatabaseUnavailable: what was claimed is due again after the lease.
        """
        lease_s = self._settings.mail_lease_s
        rows = await self._database.fetch(CLAIM_DUE, limit=limit, lease_s=lease_s)
        return [Export.from_row(row) for row in rows]

    async def send(self, export: Export, claimed_at: float | None = None) -> None:
        """Send the mail of an export whose mail this process has just claimed.

        ``claimed_at`` is when the claim was sent, in monotonic seconds: the lease lasts from then;
        ``None`` means now.
        A mail that is deferred, or whose link could not be made, is due again later, until
        ``mail_retry_max_age_s`` after it was requested; one whose content got no answer is retried
        once, much later. Cancelled, it releases the mail.

        Raises:
            DatabaseUnavailable: the mail's state could not be recorded; it is
                due again after the lease, under the same ``Message-ID``.
        """
        attributes: SpanAttributes = {"export.id": str(export.id), "seller.id": export.seller_id}
        lease = MailLease(self._database, self._settings, export)
        with (
            export_log_context(export),
            self._tracer.start_span("mail", export.traceparent, attributes, kind="client") as span,
        ):
            async with lease.renewed(claimed_at or time.monotonic()):
                # Under the renewed lease: recording may be retried for longer than a lease lasts.
                error = await self._settle(lease, await self._error_of_sending(lease))
            if error is not None:
                set_error(span, error)

    async def _error_of_sending(self, lease: MailLease) -> BaseException | None:
        """Send a mail and return why it was not sent; a cancellation is returned to be recorded."""
        begun_at, export = time.monotonic(), lease.export
        if export.email_unanswered >= UNANSWERED_MAX:
            return MailUnanswered("Its senders died before the mail server's answer.")
        try:
            link = await self._link(export)
            message = export_message(export, self._settings, link)
            await self._mailer.send(message, lease.authorize_content)
        except (Exception, asyncio.CancelledError) as error:
            return error
        # Not after the commit, as other changes are: the server has the mail even if that fails.
        log_mail_event(
            "mail sent", export, "sent", duration_s=round(time.monotonic() - begun_at, 4)
        )
        return None

    async def _link(self, export: Export) -> str | None:
        """Return the link of the mail; an address of the store has its entry in the audit first."""
        link = await download_link(self._links, self._storage, export, SIGV4_LIFETIME_MAX_S)
        if link is not None and not self._links.enabled:
            await record_url(self._database, export, NO_CONTEXT, SIGV4_LIFETIME_MAX_S)
        return link

    async def _settle(self, lease: MailLease, error: BaseException | None) -> str | None:
        """Record the outcome and return the error's code; a worker that stops waits a second.

        Raises:
            DatabaseUnavailable: it could not be recorded.
            CancelledError: the worker stops; the outcome may not be recorded.
        """
        # Its own task, so that a cancellation does not interrupt the statement.
        recording = asyncio.create_task(self._outcome.record(lease, error), name="mail outcome")
        stopping = error if isinstance(error, asyncio.CancelledError) else None
        try:
            # Not an await of the task itself, which would pass a cancellation on to it.
            await asyncio.wait({recording}, timeout=None if stopping is None else RELEASE_TIMEOUT_S)
        except asyncio.CancelledError as cancelled:
            stopping = cancelled
            await asyncio.wait({recording}, timeout=RELEASE_TIMEOUT_S)
        if stopping is None:
            return recording.result()
        if not recording.done() or recording.exception() is not None:
            log.warning("mail deferred", error=WORKER_STOPPED)
        await cancel_and_wait(recording)
        raise stopping
