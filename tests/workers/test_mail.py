"""Mails by their own workers and a mail server that takes its time."""

import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from devstack.smtp import SmtpServer
from tests.audience.storefront import Storefront
from tests.exports.conftest import reload
from tests.fakes import MemoryStorage
from tests.polling import until
from tests.proxy import Delay, Hang, Proxy, open_proxy
from tests.workers.conftest import Ask, WorkerHarness, send, until_ended

CONTENT = rb"Message-ID:"
EMAIL = "SELECT email_status, email_attempts, email_unanswered, email_due_at FROM exports"


@pytest.fixture
async def mail_proxy(smtp_server: SmtpServer) -> AsyncIterator[Proxy]:
    """A bad network before the mail server."""
    async with open_proxy("127.0.0.1", smtp_server.port) as proxy:
        yield proxy


@pytest.fixture
def far_mail(mail_proxy: Proxy) -> dict[str, str]:
    """The setting that leads a worker over the bad network."""
    return {"SMTP_URL": f"smtp://127.0.0.1:{mail_proxy.port}"}


async def until_seen(proxy: Proxy, command: bytes) -> None:
    """Wait until somebody has sent a command."""

    async def is_seen() -> bool:
        return proxy.count(command) > 0

    await until(is_seen)


async def test_a_server_that_takes_longer_than_the_lease_gets_the_mail_once(
    harness: WorkerHarness,
    create_export: Ask,
    mail_proxy: Proxy,
    far_mail: dict[str, str],
    smtp_server: SmtpServer,
) -> None:
    mail_proxy.fault(Delay(5), on=CONTENT, times=None)
    for _ in range(2):
        await harness.start(**far_mail, MAIL_LEASE_S="1.5")
    export = await create_export()
    mailed = await harness.until_mailed(export)
    assert mailed.email_attempts == 1
    assert mail_proxy.count(CONTENT) == 1
    assert len(smtp_server.messages()) == 1


async def test_a_worker_told_to_stop_while_the_server_takes_its_time_says_what_it_knows(
    harness: WorkerHarness,
    create_export: Ask,
    mail_proxy: Proxy,
    far_mail: dict[str, str],
    connection: Connection,
) -> None:
    mail_proxy.fault(Hang(), on=CONTENT)
    worker = await harness.start(**far_mail, SHUTDOWN_TIMEOUT_S="1")
    await create_export()
    await until_seen(mail_proxy, CONTENT)
    send(worker, signal.SIGTERM)
    assert await until_ended(worker) == 0
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_unanswered"]) == ("pending", 1)
    assert row["email_due_at"] > datetime.now(UTC) + timedelta(minutes=50)
    assert '"error": "mail_unanswered"' in worker.log_tail()


async def test_after_delete_no_mail_leaves_although_the_server_takes_its_time(
    harness: WorkerHarness,
    create_export: Ask,
    mail_proxy: Proxy,
    far_mail: dict[str, str],
    database: Database,
    settings: Settings,
    smtp_server: SmtpServer,
) -> None:
    attempt_cleaner = AttemptCleaner(database, database, MemoryStorage(), settings)
    mail_proxy.fault(Delay(2), on=rb"^DATA")
    worker = await harness.start(**far_mail)
    withdrawn = await create_export()
    await until_seen(mail_proxy, rb"^DATA")
    await delete_export(database, attempt_cleaner, withdrawn.id, None)
    other = await create_export(recipient_email="other@example.com")
    await harness.until_mailed(other)

    async def is_noticed() -> bool:
        return "mail lease lost" in worker.log_tail()

    await until(is_noticed)
    (message,) = smtp_server.messages()
    assert "other@example.com" in message.read_text()
    assert (await reload(database, withdrawn)).email_status is None


async def test_a_large_list_is_told_of_in_a_mail_without_the_link(
    harness: WorkerHarness,
    create_export: Ask,
    storefront: Storefront,
    smtp_server: SmtpServer,
) -> None:
    for number in range(3):
        await storefront.follow(f"fan{number}@x.co")
    await harness.start(NOTIFY_EMAIL="dpo@x.co", NOTIFY_ABOVE_ROWS="2")
    export = await create_export(recipient_email="ann@x.co")
    mailed = await harness.until_mailed(export)
    assert mailed.file_rows == 3

    async def is_told() -> bool:
        return len(smtp_server.messages()) == 2

    await until(is_told)
    texts = [path.read_text() for path in smtp_server.messages()]
    (notice,) = [text for text in texts if "\nTo: dpo@x.co\n" in text]
    (mail,) = [text for text in texts if "\nTo: ann@x.co\n" in text]
    assert "\nSubject: Large audience export: 3 people, seller 1\n" in notice
    assert "/d/" in mail
    assert "/d/" not in notice
