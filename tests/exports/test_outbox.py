"""The outbox: one mail for each end, whatever the mail server and the database do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.database import Connection
from app.errors import (
    DatabaseUnavailable,
    MailDeferred,
    MailRefused,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
)
from app.exports.links import Links
from app.exports.outbox import Outbox
from app.models import Export
from tests.exports.conftest import reread
from tests.fakes import MemoryMailer, MemoryStorage, fails
from tests.proxy import EXECUTE, CutAnswer, Proxy
from tests.waiting import until

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

EMAIL = "SELECT email_status, email_attempts, email_due_at, email_sent_at FROM exports"


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def make(
    engine: AsyncEngine, mailer: MemoryMailer, storage: MemoryStorage, settings: Settings
) -> Callable[..., Outbox]:
    """Make a process's outbox, with some settings changed."""

    def make(engine: AsyncEngine = engine, **changes: Any) -> Outbox:
        changed = settings.model_copy(update={"record_timeout_s": 3} | changes)
        links = Links(changed.link_secrets, changed.public_url)
        return Outbox(engine, mailer, storage, links, changed)

    return make


@pytest.fixture
def outbox(make: Callable[..., Outbox]) -> Outbox:
    """A process's outbox."""
    return make()


@pytest.fixture
async def succeeded(ask: Ask, connection: Connection, engine: AsyncEngine) -> Export:
    """An export that succeeded and whose mail is due."""
    export = await ask()
    await connection.execute(SUCCEEDED)
    return await reread(engine, export)


async def send_due(outbox: Outbox) -> int:
    """Send what is due and return how many mails that were."""
    due = await outbox.claim_due(10)
    for export in due:
        await outbox.send(export)
    return len(due)


async def test_success_is_told_once(
    outbox: Outbox,
    succeeded: Export,
    mailer: MemoryMailer,
    engine: AsyncEngine,
    settings: Settings,
) -> None:
    assert [await send_due(outbox) for _ in range(2)] == [1, 0]
    (message,) = mailer.messages
    assert message["To"] == succeeded.recipient_email
    link = Links(settings.link_secrets, settings.public_url).url(succeeded)
    body = message.get_body(("plain",))
    assert body is not None
    assert link in body.get_content()
    now = await reread(engine, succeeded)
    assert now.email_status == "sent"
    assert now.email_sent_at is not None


async def test_failure_is_told_once(
    ask: Ask, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await ask()
    await connection.execute(FAILED)
    assert [await send_due(outbox) for _ in range(2)] == [1, 0]
    (message,) = mailer.messages
    assert message["Subject"] == "Your audience export failed"


@pytest.mark.parametrize("status", ["queued", "running", "cancelled", "deleted"])
async def test_nothing_is_told_of_other_states(
    ask: Ask, outbox: Outbox, connection: Connection, status: str
) -> None:
    await ask()
    await connection.execute("UPDATE exports SET status = $1", status)
    assert await outbox.claim_due(10) == []


async def test_of_many_processes_one_sends(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer
) -> None:
    await asyncio.gather(*(send_due(make()) for _ in range(8)))
    assert len(mailer.messages) == 1


async def test_no_more_is_claimed_than_there_is_room_for(
    ask: Ask, outbox: Outbox, connection: Connection
) -> None:
    for number in range(5):
        await ask(recipient_email=f"{number}@example.com")
    await connection.execute(SUCCEEDED)
    assert len(await outbox.claim_due(2)) == 2
    assert len(await outbox.claim_due(9)) == 3


async def test_without_a_public_address_the_link_lives_as_long_as_the_file(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, storage: MemoryStorage
) -> None:
    lifetimes = []
    signing = storage.presigned_url

    async def note(key: str, file_name: str, lifetime_s: int) -> str:
        lifetimes.append(lifetime_s)
        return await signing(key, file_name, lifetime_s)

    storage.presigned_url = note  # type: ignore[method-assign]  # the port's fake, to look in
    await send_due(make(public_url=None))
    assert len(mailer.messages) == 1
    assert SIGV4_LIFETIME_MAX_S - 60 < lifetimes[0] <= SIGV4_LIFETIME_MAX_S


async def test_a_clock_that_is_behind_the_databases_makes_no_link_too_long(
    succeeded: Export,
    make: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    await connection.execute("UPDATE exports SET expires_at = expires_at + interval '1 minute'")
    await send_due(make(public_url=None))
    assert len(mailer.messages) == 1


@pytest.mark.parametrize("tries", [1, 4])
async def test_a_deferred_mail_is_due_again_later_and_later(
    succeeded: Export,
    make: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
    tries: int,
) -> None:
    mailer.before = fails("send", DEFERRED)
    await connection.execute("UPDATE exports SET email_attempts = $1", tries - 1)
    before = datetime.now(UTC)
    await send_due(make(mail_retry_base_s=100, mail_retry_max_s=300))
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_attempts"]) == ("pending", tries)
    bound = timedelta(seconds=min(300, 100 * 2 ** (tries - 1)) + 5)
    assert before <= row["email_due_at"] < before + bound


async def test_a_deferred_mail_goes_out_in_the_end_under_one_message_id(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, connection: Connection
) -> None:
    outbox = make(mail_retry_base_s=0.001)
    mailer.before = fails("send", DEFERRED, times=2)
    expected = (await outbox.claim_due(1))[0]
    for _ in range(3):
        await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        await send_due(outbox)
    (message,) = mailer.messages
    assert str(expected.id) in message["Message-ID"]
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"


async def test_a_mail_deferred_for_too_long_has_failed(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    mailer.before = fails("send", DEFERRED)
    await connection.execute("UPDATE exports SET finished_at = finished_at - interval '25 hours'")
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_due_at"]) == ("failed", None)
    assert await send_due(outbox) == 0


async def test_a_mail_asked_for_again_has_its_own_day(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    mailer.before = fails("send", DEFERRED)
    await connection.execute("""
        UPDATE exports
        SET finished_at = finished_at - interval '3 days',
            email_resent_at = ARRAY[clock_timestamp() - interval '2 days', clock_timestamp()]
    """)
    await send_due(outbox)
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_a_refused_mail_has_failed_at_once(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    mailer.before = fails("send", MailRefused("No such mailbox (550)."))
    await send_due(outbox)
    assert await connection.fetchval("SELECT email_status FROM exports") == "failed"


@pytest.mark.parametrize("error", [StorageRefused("No credentials."), StorageUnavailable("away")])
async def test_a_link_that_cannot_be_made_defers_the_mail(
    succeeded: Export,
    make: Callable[..., Outbox],
    storage: MemoryStorage,
    connection: Connection,
    error: ServiceError,
) -> None:
    storage.before = fails("presigned_url", error)
    await send_due(make(public_url=None))
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_what_nobody_foresaw_defers_the_mail(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    async def break_(_method: str) -> None:
        raise ZeroDivisionError

    mailer.before = break_
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_attempts"]) == ("pending", 1)


async def test_sending_ends_before_the_lease_does(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, connection: Connection
) -> None:
    async def stay(_method: str) -> None:
        await asyncio.Event().wait()

    mailer.before = stay
    async with asyncio.timeout(5):
        await send_due(make(mail_lease_s=0.5))
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_a_claim_that_is_old_when_sending_begins_sends_nothing(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, connection: Connection
) -> None:
    outbox = make(mail_lease_s=10)
    (held,) = await outbox.claim_due(1)
    await outbox.send(held, claimed_at=time.monotonic() - 8)
    assert mailer.messages == []
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_the_mail_of_a_sender_that_died_is_due_again_after_its_lease(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, connection: Connection
) -> None:
    await make().claim_due(1)
    assert await send_due(make()) == 0
    await connection.execute("UPDATE exports SET email_due_at = email_due_at - interval '60 s'")
    assert await send_due(make()) == 1
    assert len(mailer.messages) == 1


async def test_a_sender_that_lost_its_lease_records_nothing(
    succeeded: Export, make: Callable[..., Outbox], mailer: MemoryMailer, connection: Connection
) -> None:
    """Frozen for a minute, it sends again what another sent: under the same Message-ID."""
    (held,) = await make().claim_due(1)
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    await send_due(make())
    before = await connection.fetchrow("SELECT * FROM exports")
    await make().send(held)
    assert await connection.fetchrow("SELECT * FROM exports") == before
    first, second = mailer.messages
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_link_that_would_be_dead_is_not_mailed(
    succeeded: Export, outbox: Outbox, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    assert await send_due(outbox) == 0


async def test_a_sent_mail_is_recorded_although_the_database_was_away(
    succeeded: Export,
    make: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    far_engine: AsyncEngine,
    connection: Connection,
) -> None:
    outbox = make(engine=far_engine)
    (held,) = await outbox.claim_due(1)
    await database_proxy.stop()
    sending = asyncio.create_task(outbox.send(held))

    async def is_sent() -> bool:
        return len(mailer.messages) == 1

    await until(is_sent)
    await database_proxy.start()
    await sending
    assert len(mailer.messages) == 1
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"


async def test_a_commit_whose_answer_was_lost_sends_no_second_mail(
    succeeded: Export,
    make: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    far_engine: AsyncEngine,
    connection: Connection,
) -> None:
    outbox = make(engine=far_engine)
    (held,) = await outbox.claim_due(1)
    database_proxy.fault(CutAnswer(), on=EXECUTE)
    await outbox.send(held)
    assert len(mailer.messages) == 1
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"
    assert await send_due(outbox) == 0


async def test_a_mail_whose_end_cannot_be_recorded_is_due_again_after_its_lease(
    succeeded: Export,
    make: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    far_engine: AsyncEngine,
    connection: Connection,
) -> None:
    outbox = make(engine=far_engine, record_timeout_s=0.1)
    (held,) = await outbox.claim_due(1)
    await database_proxy.stop()
    with pytest.raises(DatabaseUnavailable):
        await outbox.send(held)
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    assert await send_due(make()) == 1
    first, second = mailer.messages
    assert first["Message-ID"] == second["Message-ID"]
