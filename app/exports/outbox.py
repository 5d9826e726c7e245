"""The outbox: mails that are due, sent with a lease of their own."""

from datetime import UTC, datetime

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import transaction
from app.errors import MailDeferred, MailRefused
from app.exports.links import Links
from app.exports.message import export_message
from app.models import EXPORT_NAMES, Export
from app.ports import Mailer, ObjectStorage

log = structlog.get_logger()

RETRY_S = 60

OWNED = """
    seller_id = :seller_id AND id = :id
    AND email_status = 'pending'
    AND email_sequence = :sequence AND email_attempts = :attempts
"""

CLAIM_DUE = f"""
    UPDATE exports
    SET email_attempts = email_attempts + 1,
        email_due_at = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM exports
        WHERE email_status = 'pending' AND email_due_at <= clock_timestamp()
        ORDER BY email_due_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING {EXPORT_NAMES}
"""

SENT = f"""
    UPDATE exports
    SET email_status = 'sent', email_sent_at = clock_timestamp(), email_due_at = NULL
    WHERE {OWNED}
"""

FAILED = f"""
    UPDATE exports
    SET email_status = 'failed', email_due_at = NULL
    WHERE {OWNED}
"""

DEFERRED = f"""
    UPDATE exports
    SET email_due_at = clock_timestamp() + make_interval(secs => :delay_s)
    WHERE {OWNED}
"""


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
    ) -> None:
        self._engine = engine
        self._mailer = mailer
        self._storage = storage
        self._links = links
        self._settings = settings

    async def claim_due(self, limit: int) -> list[Export]:
        """Take up to ``limit`` exports whose mail is due."""
        values = {"limit": limit, "lease_s": self._settings.mail_lease_s}
        async with transaction(self._engine) as connection:
            rows = await connection.execute(text(CLAIM_DUE), values)
            return [Export.of(row) for row in rows]

    async def send(self, export: Export) -> None:
        """Send the mail of an export whose mail this process holds.

        A deferred mail is due again later, until ``mail_give_up_s`` after the
        export's end.
        """
        try:
            message = export_message(export, self._settings, await self._link(export))
            await self._mailer.send(message)
        except MailDeferred as error:
            await self._defer(export, error)
        except MailRefused as error:
            log.warning("mail refused", export_id=str(export.id), error=error.code)
            await self._record(FAILED, export)
        else:
            log.info("mail sent", export_id=str(export.id), status=export.status)
            await self._record(SENT, export)

    async def _link(self, export: Export) -> str | None:
        if export.object_key is None or export.file_name is None or export.expires_at is None:
            return None
        if self._links.are_served:
            return self._links.url(export)
        left_s = int((export.expires_at - datetime.now(UTC)).total_seconds())
        return await self._storage.presigned_url(
            export.object_key, export.file_name, max(1, left_s)
        )

    async def _defer(self, export: Export, error: MailDeferred) -> None:
        waited_s = (datetime.now(UTC) - (export.finished_at or export.created_at)).total_seconds()
        gives_up = waited_s >= self._settings.mail_give_up_s
        log.warning("mail deferred", export_id=str(export.id), error=error.code, gives_up=gives_up)
        if gives_up:
            await self._record(FAILED, export)
            return
        delay_s = RETRY_S * min(2**export.email_attempts, 32)
        await self._record(DEFERRED, export, delay_s=delay_s)

    async def _record(self, sql: str, export: Export, **values: float) -> None:
        facts = {
            "seller_id": export.seller_id,
            "id": export.id,
            "sequence": export.email_sequence,
            "attempts": export.email_attempts,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(text(sql), facts | values)
