"""Contents that the mail server did not answer: sent once more and much later."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.database.connections import Connection
from app.errors import (
    DatabaseUnavailable,
    MailDeferred,
    ServiceError,
)
from app.exports.delivery.outbox import Outbox
from app.models import Export
from tests.exports.delivery.outbox.conftest import EMAIL, UNANSWERED, send_due
from tests.fakes import MemoryMailer, fails


async def test_a_content_without_an_answer_is_repeated_once_and_much_later(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    """RFC 5321, section 4.5.3.2.6: who gives up early sends the mail again and again."""
    outbox = make_outbox(mail_unanswered_retry_s=3600)
    mailer.before = fails("answer", UNANSWERED, times=9)
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert row["email_due_at"] > datetime.now(UTC) + timedelta(minutes=59)
    assert (row["email_status"], row["email_unanswered"]) == ("pending", 1)
    assert row["email_error"] == UNANSWERED.detail

    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    await send_due(outbox)
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_unanswered"]) == ("failed", 2)
    assert await send_due(outbox) == 0
    first, second = mailer.messages
    assert first["Message-ID"] == second["Message-ID"]


async def test_senders_that_died_count_as_contents_without_an_answer(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    class Killed(BaseException):
        pass

    async def die(method: str) -> None:
        if method == "answer":
            raise Killed

    mailer.before = die
    for _ in range(2):
        await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        with pytest.raises(Killed):
            await send_due(make_outbox())
    assert await connection.fetchval("SELECT email_status FROM exports") == "pending"
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    await send_due(make_outbox())
    assert await connection.fetchval("SELECT email_status FROM exports") == "failed"
    assert len(mailer.messages) == 2


@pytest.mark.parametrize(
    "answer", [MailDeferred("Later.", "content: 451 4.3.0 later"), DatabaseUnavailable("away")]
)
async def test_a_content_with_an_answer_is_not_counted_as_one_without(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    answer: ServiceError,
) -> None:
    mailer.before = fails("answer", answer, times=5)
    for _ in range(5):
        await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        assert await send_due(outbox) == 1
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_unanswered"]) == ("pending", 0)


async def test_a_defect_behind_the_content_does_not_send_again_and_again(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    async def break_(method: str) -> None:
        if method == "answer":
            raise ZeroDivisionError

    mailer.before = break_
    for _ in range(3):
        await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        await send_due(outbox)
    assert len(mailer.messages) == 2
    assert await connection.fetchval("SELECT email_error FROM exports") == "ZeroDivisionError"
