"""What is recorded of a mail when its worker stops or the database is unavailable."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import DatabaseUnavailable
from app.exports.delivery.mail_outcome import WORKER_STOPPED
from app.exports.delivery.outbox import Outbox
from app.models import Export
from tests.exports.delivery.outbox.conftest import EMAIL, Pause, send_due
from tests.fakes import Before, MemoryMailer
from tests.polling import until
from tests.proxy import EXECUTE, CutAnswer, Proxy


async def test_the_log_says_how_long_a_mail_took(
    succeeded: Export, outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await send_due(outbox) == 1
    lines = capsys.readouterr().out.splitlines()
    (sent,) = [json.loads(line) for line in lines if '"mail sent"' in line]
    assert 0 < sent["duration_s"] < 60


@pytest.mark.parametrize(("method", "unanswered"), [("send", 0), ("answer", 1)])
async def test_a_worker_that_stops_says_whether_the_mail_may_have_been_sent(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    method: str,
    unanswered: int,
) -> None:
    mailer.before = pause = Pause(method)
    sending = asyncio.create_task(send_due(outbox))
    await pause.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_unanswered"]) == ("pending", unanswered)
    is_due = row["email_due_at"] <= datetime.now(UTC)
    assert is_due is (unanswered == 0)


async def test_a_worker_that_stops_while_it_records_a_sent_mail_records_it(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def stop(method: str) -> None:
        if method == "answer":
            asyncio.get_running_loop().call_soon(sending.cancel)

    mailer.before = stop
    async with connection.transaction():
        await connection.execute("SELECT 1")
        sending = asyncio.create_task(send_due(outbox))
        with pytest.raises(asyncio.CancelledError):
            await sending
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert row["email_status"] == "sent"
    assert "mail deferred" not in capsys.readouterr().out


async def test_a_worker_that_stops_is_not_kept_by_a_row_that_is_locked(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mailer.before = pause = Pause("answer")
    sending = asyncio.create_task(send_due(outbox))
    await pause.reached.wait()
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR UPDATE")
        sending.cancel()
        ended, _ = await asyncio.wait({sending}, timeout=10)
    assert ended
    assert sending.cancelled()
    assert f'"error": "{WORKER_STOPPED}"' in capsys.readouterr().out


async def test_a_worker_that_does_not_stop_waits_for_a_row_that_is_locked(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.exports.delivery.outbox.RELEASE_TIMEOUT_S", 0)

    async def waits_for_row() -> bool:
        return bool(
            await connection.fetchval("""
                SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND datname = current_database()
            """)
        )

    mailer.before = pause = Pause("answer")
    sending = asyncio.create_task(send_due(outbox))
    await pause.reached.wait()
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR UPDATE")
        pause.may_go_on.set()
        await until(waits_for_row)
    assert await sending == 1
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"


def stops_at_the_answer(database_proxy: Proxy) -> Before:
    """Return what takes the database away once the mail server has the mail."""

    async def stop(method: str) -> None:
        if method == "answer":
            await database_proxy.stop()

    return stop


async def test_a_sent_mail_is_recorded_although_the_database_was_away(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    database_via_proxy: Database,
    connection: Connection,
) -> None:
    mailer.before = stops_at_the_answer(database_proxy)
    outbox = make_outbox(database=database_via_proxy)
    (held,) = await outbox.claim_due(1)
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
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    database_via_proxy: Database,
    connection: Connection,
) -> None:
    async def lose_the_next_answer(method: str) -> None:
        if method == "answer":
            database_proxy.fault(CutAnswer(), on=EXECUTE)

    mailer.before = lose_the_next_answer
    outbox = make_outbox(database=database_via_proxy)
    (held,) = await outbox.claim_due(1)
    await outbox.send(held)
    assert len(mailer.messages) == 1
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"
    assert await send_due(outbox) == 0


async def test_a_mail_whose_end_cannot_be_recorded_is_due_again_after_its_lease(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    database_via_proxy: Database,
    connection: Connection,
) -> None:
    mailer.before = stops_at_the_answer(database_proxy)
    outbox = make_outbox(database=database_via_proxy, record_timeout_s=0.1)
    (held,) = await outbox.claim_due(1)
    with pytest.raises(DatabaseUnavailable):
        await outbox.send(held)
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    assert await send_due(make_outbox()) == 1
    first, second = mailer.messages
    assert first["Message-ID"] == second["Message-ID"]
