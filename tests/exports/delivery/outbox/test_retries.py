"""What the outbox does with a mail that was deferred or refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.database.connections import Connection
from app.errors import (
    MailDeferred,
    MailRefused,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
)
from app.exports.delivery.outbox import Outbox
from app.models import Export
from tests.exports.delivery.outbox.conftest import DEFERRED, EMAIL, send_due
from tests.fakes import MemoryMailer, MemoryStorage, fails


@pytest.mark.parametrize("tries", [1, 4])
async def test_a_deferred_mail_is_due_again_later_and_later(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
    tries: int,
) -> None:
    mailer.before = fails("send", DEFERRED)
    await connection.execute("UPDATE exports SET email_attempts = $1", tries - 1)
    before = datetime.now(UTC)
    await send_due(make_outbox(mail_retry_base_s=100, mail_retry_max_s=300))
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_attempts"]) == ("pending", tries)
    bound = timedelta(seconds=min(300, 100 * 2 ** (tries - 1)) + 5)
    assert before <= row["email_due_at"] < before + bound


async def test_a_deferred_mail_goes_out_in_the_end_under_one_message_id(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    outbox = make_outbox(mail_retry_base_s=0.001)
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


async def test_a_mail_requested_again_has_its_own_day(
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


async def test_the_mail_of_a_later_end_has_its_own_day(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    """It failed, its mail was requested again, and days later an operator retried it."""
    mailer.before = fails("send", DEFERRED)
    await connection.execute(
        "UPDATE exports SET email_resent_at = ARRAY[clock_timestamp() - interval '2 days']"
    )
    await send_due(outbox)
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_a_refused_mail_has_failed_at_once(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    mailer.before = fails("send", MailRefused("No such mailbox (550)."))
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_error"]) == ("failed", "No such mailbox (550).")


@pytest.mark.parametrize("error", [StorageRefused("No credentials."), StorageUnavailable("away")])
async def test_a_link_that_cannot_be_made_defers_the_mail(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    storage: MemoryStorage,
    connection: Connection,
    error: ServiceError,
) -> None:
    storage.before = fails("presigned_url", error)
    await send_due(make_outbox(public_url=None))
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"


async def test_an_unexpected_error_defers_the_mail(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    async def break_(_method: str) -> None:
        raise ZeroDivisionError

    mailer.before = break_
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_attempts"]) == ("pending", 1)


async def test_what_the_server_said_is_kept_until_the_mail_is_sent(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    said = "RCPT: 553 5.7.1 <[…]>: not owned by user mailer"
    mailer.before = fails("send", MailDeferred("Later.", said))
    for expected in (said, None):
        await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        await send_due(outbox)
        assert await connection.fetchval("SELECT email_error FROM exports") == expected
