"""Outboxes, a mail server in memory, and exports whose mail is due."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import MailDeferred, MailUnanswered
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.outbox import Outbox
from app.models import Export
from app.observability.tracing import NOOP_TRACER, Tracer
from tests.exports.conftest import reload
from tests.fakes import MemoryMailer, MemoryStorage

Ask = Callable[..., Awaitable[Export]]

SUCCEEDED = """
    UPDATE exports
    SET status = 'succeeded', attempt = 1, finished_at = clock_timestamp(),
        expires_at = clock_timestamp() + interval '7 days', snapshot_at = clock_timestamp(),
        object_key = 'exports/1/x/1.csv', file_name = 'audience.csv',
        file_rows = 1, file_bytes = 1,
        email_status = 'pending', email_due_at = clock_timestamp()
"""

FAILED = """
    UPDATE exports
    SET status = 'failed', attempt = 1, finished_at = clock_timestamp(),
        error_code = 'storage_refused', error_detail = 'Access is denied.',
        email_status = 'pending', email_due_at = clock_timestamp()
"""

DEFERRED = MailDeferred("The mail server does not take the message now (451).")

UNANSWERED = MailUnanswered("No answer.", "content: no answer in 600 s")

EMAIL = """
    SELECT email_status, email_attempts, email_due_at, email_sent_at, email_unanswered, email_error
    FROM exports
"""


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def make_outbox(
    database: Database, mailer: MemoryMailer, storage: MemoryStorage, settings: Settings
) -> Callable[..., Outbox]:
    """Make a process's outbox, with some settings changed."""

    def make_outbox(
        database: Database = database, tracer: Tracer = NOOP_TRACER, **changes: Any
    ) -> Outbox:
        changed = settings.model_copy(update={"record_timeout_s": 3} | changes)
        links = LinkSigner(changed.link_secrets, changed.public_url)
        return Outbox(database, mailer, storage, links, changed, tracer=tracer)

    return make_outbox


@pytest.fixture
def outbox(make_outbox: Callable[..., Outbox]) -> Outbox:
    """A process's outbox."""
    return make_outbox()


@pytest.fixture
async def succeeded(create_export: Ask, connection: Connection, database: Database) -> Export:
    """An export that succeeded and whose mail is due."""
    export = await create_export()
    await connection.execute(SUCCEEDED)
    return await reload(database, export)


class Pause:
    """Stops a :class:`MemoryMailer` before one of its methods, until ``may_go_on``."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.reached, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, method: str) -> None:
        if method == self._method:
            self.reached.set()
            await self.may_go_on.wait()


async def send_due(outbox: Outbox) -> int:
    """Send what is due and return how many mails that were."""
    due = await outbox.claim_due(10)
    for export in due:
        await outbox.send(export)
    return len(due)
