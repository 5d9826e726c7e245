"""The lease of a mail while it is sent, and the last check of the row before its content leaves."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import structlog

from app.concurrency import cancel_and_wait
from app.config import Settings
from app.database.database import Database
from app.errors import LeaseLost, MailDeferred, ServiceError
from app.models import Export
from app.retry import retry_until

log = structlog.get_logger()

RENEWALS = 4
"""How often a lease is renewed in the time it lasts."""

RETRY_RENEWAL_S = 1.0

CONTENT_PERMIT_MAX_S = 5.0
"""An older permission to send the content is not used: the row may have changed since."""

# Both numbers: sending again counts the attempts from 0, and only the sequence differs then.
MAIL_LEASE_HELD = """
    seller_id = :seller_id AND id = :id
    AND email_status = 'pending'
    AND email_sequence = :sequence AND email_attempts = :attempts
"""

RENEW = f"""
    UPDATE exports
    SET email_due_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE {MAIL_LEASE_HELD}
    RETURNING email_status
"""

# The last look at the row. As a rule no indexed column changes: the update is a HOT one.
ALLOW_CONTENT = f"""
    UPDATE exports
    SET email_unanswered = :unanswered,
        email_due_at = greatest(
            email_due_at, clock_timestamp() + make_interval(secs => :half_lease_s)
        )
    WHERE {MAIL_LEASE_HELD}
    RETURNING email_status
"""


class MailLease:
    """The lease of a mail that this process has claimed.

    A process that lost it changes nothing: each statement is guarded by the numbers of the request
    for the mail and of the attempt. ``may_be_sent`` from the moment that the content leaves.
    """

    def __init__(self, database: Database, settings: Settings, export: Export) -> None:
        self.export = export
        self.may_be_sent = False
        # A renewal that waits for the row would overwrite when a deferred mail is due again.
        self._statement = asyncio.Lock()
        self._is_settled = False
        self._database = database
        self._settings = settings

    @property
    def unanswered(self) -> int:
        """How often the content was sent without an answer, where this attempt has none."""
        return self.export.email_unanswered + self.may_be_sent

    async def authorize_content(self) -> None:
        """Allow the content to be sent, unless the mail was withdrawn, resent or taken over.

        Raises:
            LeaseLost: it is no longer this attempt's.
            MailDeferred: the permission came too late to rely on.
            DatabaseUnavailable: the row could not be checked.
        """
        # Before the statement: what counts is how old its result is when it arrives.
        requested_at = time.monotonic()
        changes = {
            "unanswered": self.export.email_unanswered + 1,
            "half_lease_s": self._settings.mail_lease_s / 2,
        }
        if await self._change(ALLOW_CONTENT, changes) is None:
            raise LeaseLost("The mail was withdrawn, or another worker has it.")
        if time.monotonic() - requested_at > CONTENT_PERMIT_MAX_S:
            raise MailDeferred("The database took too long to let the mail go.")
        # Last, with nothing to await behind it: the content leaves next, and cannot be recalled.
        self.may_be_sent = True

    @asynccontextmanager
    async def renewed(self, claimed_at: float) -> AsyncIterator[None]:
        """Renew the lease while the context is open; it was claimed at that monotonic time."""
        renewing = asyncio.create_task(self._renew(claimed_at), name="mail lease")
        try:
            yield
        finally:
            await cancel_and_wait(renewing)

    async def record(self, sql: str, **values: float | str) -> str | None:
        """Record what became of the mail; ``None`` where it is no longer ours.

        Raises:
            DatabaseUnavailable: for ``record_timeout_s``; the mail is due again after its lease.
        """
        return await retry_until(
            partial(self._settle, sql, values), self._settings.record_timeout_s
        )

    async def _settle(self, sql: str, values: Mapping[str, float | str]) -> str | None:
        async with self._statement:
            status = await self._change(sql, values)
            self._is_settled = True
        return status

    async def _renew(self, claimed_at: float) -> None:
        """Renew until cancelled, or until the mail is another's."""
        lease_s = self._settings.mail_lease_s
        pause_s = claimed_at + lease_s / RENEWALS - time.monotonic()
        while True:
            await asyncio.sleep(max(0, pause_s))
            try:
                # No error: `authorize_content` and the outcome compare the same numbers.
                async with self._statement:
                    if self._is_settled or await self._change(RENEW, {"lease_s": lease_s}) is None:
                        return
                pause_s = lease_s / RENEWALS
            except Exception as error:  # the next renewal may succeed
                trace = None if isinstance(error, ServiceError) else error
                code = getattr(error, "code", type(error).__name__)
                log.warning("mail lease not renewed", error=code, exc_info=trace)
                pause_s = min(RETRY_RENEWAL_S, lease_s / RENEWALS)

    async def _change(self, sql: str, values: Mapping[str, float | str]) -> str | None:
        parameters = {
            "seller_id": self.export.seller_id,
            "id": self.export.id,
            "sequence": self.export.email_sequence,
            "attempts": self.export.email_attempts,
        }
        row = await self._database.fetchrow(sql, **values, **parameters)
        return None if row is None else str(row["email_status"])
