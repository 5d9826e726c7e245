"""The outbox: mails that are due, sent with a lease of their own."""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.errors import MailDeferred, MailRefused, ServiceError
from app.exports.counting import count_mail
from app.exports.insistence import full_jitter, insist
from app.exports.journal import in_the_name_of, mail_noted, names
from app.exports.links import Links
from app.exports.message import export_message
from app.metrics import Metrics
from app.models import EXPORT_NAMES, Export
from app.ports import Mailer, ObjectStorage
from app.statements import Statement
from app.tracing import UNTRACED, Facts, Tracer

log = structlog.get_logger()

SEND_PART = 0.8
"""How much of the lease may pass with sending; the rest is for saying that it was sent."""

OWNED = """
    seller_id = :seller_id AND id = :id
    AND email_status = 'pending'
    AND email_sequence = :sequence AND email_attempts = :attempts
"""

CLAIM_DUE = Statement(f"""
    UPDATE exports
    SET email_attempts = email_attempts + 1,
        email_due_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM exports
        WHERE email_status = 'pending' AND email_due_at <= clock_timestamp()
        AND (expires_at IS NULL OR expires_at > clock_timestamp())
        ORDER BY email_due_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING {EXPORT_NAMES}
""")

SENT = Statement(f"""
    UPDATE exports
    SET email_status = 'sent', email_sent_at = clock_timestamp(), email_due_at = NULL
    WHERE {OWNED}
    RETURNING email_status
""")

REFUSED = Statement(f"""
    UPDATE exports
    SET email_status = 'failed', email_due_at = NULL
    WHERE {OWNED}
    RETURNING email_status
""")

DEFERRED = Statement(f"""
    UPDATE exports
    SET email_status = CASE WHEN gives_up THEN 'failed' ELSE 'pending' END,
        email_due_at = CASE
            WHEN NOT gives_up THEN clock_timestamp() + make_interval(secs => :delay_s)
        END
    FROM (
        SELECT
            seller_id AS asked_seller_id,
            id AS asked_id,
            coalesce(email_resent_at[cardinality(email_resent_at)], finished_at)
                < clock_timestamp() - make_interval(secs => :give_up_s) AS gives_up
        FROM exports
        WHERE {OWNED}
        FOR UPDATE
    ) AS asked
    WHERE seller_id = asked_seller_id AND id = asked_id
    RETURNING email_status
""")


class Outbox:
    """Sends the mails of exports that have ended.

    A mail is held for ``mail_lease_s``; between the server's acceptance and
    our commit a crash can send it twice, then under the same ``Message-ID``.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        mailer: Mailer,
        storage: ObjectStorage,
        links: Links,
        settings: Settings,
        metrics: Metrics | None = None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._engine = engine
        self._mailer = mailer
        self._storage = storage
        self._links = links
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._tracer = tracer

    async def claim_due(self, limit: int) -> list[Export]:
        """Take up to ``limit`` exports whose mail is due, to send them now.

        Never the mail of a file whose time is over: its link would be dead.

        Raises:
            DatabaseUnavailable: what was taken is due again after the lease.
        """
        lease_s = self._settings.mail_lease_s
        rows = await CLAIM_DUE.rows(self._engine, limit=limit, lease_s=lease_s)
        return [Export.of_record(row) for row in rows]

    async def send(self, export: Export, claimed_at: float | None = None) -> None:
        """Send the mail of an export whose mail this process has just claimed.

        ``claimed_at`` is when the claim was asked for, in monotonic seconds,
        from which the lease is reckoned; now where it is absent.
        A deferred mail is due again later, until ``mail_give_up_s`` after it
        was asked for. So is one whose link could not be made: that is the
        operator's to mend, and no fault of the mail.

        Raises:
            DatabaseUnavailable: the mail's state could not be recorded; it is
                due again after the lease, under the same ``Message-ID``.
        """
        facts: Facts = {"export.id": str(export.id), "seller.id": export.seller_id}
        with (
            in_the_name_of(export),
            self._tracer.begin("mail", export.traceparent, facts, kind="client") as span,
        ):
            error = await self._sent_or_not(export, claimed_at or time.monotonic())
            if error is not None:
                span.fail(error)

    async def _sent_or_not(self, export: Export, claimed_at: float) -> str | None:
        """Send a mail, record what became of it and return why it was not sent."""
        begun_at = time.monotonic()
        try:
            await self._send(export, claimed_at + self._settings.mail_lease_s * SEND_PART)
        except MailRefused as error:
            if await self._record(REFUSED, export):
                count_mail(self._metrics, export, "refused")
                mail_noted("mail failed", export, "failed", error=error.code)
            return error.code
        except ServiceError as error:
            await self._defer(export, error.code)
            return error.code
        except Exception as error:
            log.exception("mail broke", **names(export))
            await self._defer(export, type(error).__name__)
            return type(error).__name__
        duration_s = round(time.monotonic() - begun_at, 4)
        mail_noted("mail sent", export, "sent", duration_s=duration_s)
        if await self._record(SENT, export):
            count_mail(self._metrics, export, "sent")
        return None

    async def _send(self, export: Export, until: float) -> None:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await asyncio.sleep(0)  # an expired timeout raises here, before anything is sent
                message = export_message(export, self._settings, await self._link(export))
                await self._mailer.send(message)
        except TimeoutError as error:
            raise MailDeferred("The mail was not sent in time.") from error

    async def _link(self, export: Export) -> str | None:
        if export.object_key is None or export.file_name is None or export.expires_at is None:
            return None
        if self._links.are_served:
            return self._links.url(export)
        left_s = int((export.expires_at - datetime.now(UTC)).total_seconds())
        lifetime_s = min(max(1, left_s), SIGV4_LIFETIME_MAX_S)  # clocks differ
        return await self._storage.presigned_url(export.object_key, export.file_name, lifetime_s)

    async def _defer(self, export: Export, reason: str) -> None:
        settings = self._settings
        delay_s = full_jitter(
            settings.mail_retry_base_s, settings.mail_retry_max_s, export.email_attempts
        )
        status = await self._record(
            DEFERRED, export, delay_s=delay_s, give_up_s=settings.mail_give_up_s
        )
        if status is not None:
            outcome = "deferred" if status == "pending" else "given_up"
            count_mail(self._metrics, export, outcome)
            event = "mail deferred" if status == "pending" else "mail failed"
            mail_noted(event, export, status, error=reason)

    async def _record(self, statement: Statement, export: Export, **values: float) -> str | None:
        """Record what became of the mail; ``None`` where it is no longer ours."""
        facts = values | {
            "seller_id": export.seller_id,
            "id": export.id,
            "sequence": export.email_sequence,
            "attempts": export.email_attempts,
        }
        change = partial(self._change, statement, facts)
        return await insist(change, self._settings.record_timeout_s)

    async def _change(self, statement: Statement, values: dict[str, object]) -> str | None:
        row = await statement.row(self._engine, **values)
        return None if row is None else str(row["email_status"])
