"""The lease of a mail: one process sends, and only what is still wanted."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Record

from app.database.connections import Connection
from app.database.database import Database
from app.errors import (
    DatabaseUnavailable,
)
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from app.exports.delivery import mail_lease
from app.exports.delivery.outbox import Outbox
from app.exports.delivery.resend import resend_email
from app.models import Export
from tests.exports.conftest import reload
from tests.exports.delivery.outbox.conftest import EMAIL, UNANSWERED, Pause, send_due
from tests.fakes import MemoryMailer, fails, nothing
from tests.polling import until
from tests.proxy import Proxy


async def test_a_mail_is_leased_for_as_long_as_the_server_takes(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    mailer.before = pause = Pause("answer")
    sending = asyncio.create_task(send_due(make_outbox(mail_lease_s=1)))
    await pause.reached.wait()
    claims = 0
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        claims += len(await make_outbox().claim_due(1))
        await asyncio.sleep(0.05)
    pause.may_go_on.set()
    await sending
    assert (claims, len(mailer.messages)) == (0, 1)
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"


async def test_a_lease_outlives_a_short_absence_of_the_database(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    database_via_proxy: Database,
    connection: Connection,
) -> None:
    async def lose_the_database(method: str) -> None:
        if method == "answer":
            await database_proxy.stop()
            await asyncio.sleep(0.5)
            await database_proxy.start()
            renewed = "SELECT email_due_at > clock_timestamp() + interval '1 s' FROM exports"
            await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")

            async def is_renewed() -> bool:
                return bool(await connection.fetchval(renewed))

            await until(is_renewed)

    mailer.before = lose_the_database
    await send_due(make_outbox(database=database_via_proxy, mail_lease_s=2))
    assert await connection.fetchval("SELECT email_status FROM exports") == "sent"


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), ValueError("a defect")])
async def test_a_renewal_that_fails_is_tried_again_later_and_a_defect_logged_with_its_trace(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    tried_at: list[float] = []
    renewed = asyncio.Event()
    fetchrow = database.fetchrow

    async def fail_once(sql: str, /, **values: Any) -> Record | None:
        if sql == mail_lease.RENEW:
            tried_at.append(time.monotonic())
            if len(tried_at) == 1:
                raise error
        row = await fetchrow(sql, **values)
        if sql == mail_lease.RENEW:
            renewed.set()
        return row

    async def take_time(method: str) -> None:
        if method == "answer":
            await renewed.wait()

    monkeypatch.setattr(database, "fetchrow", fail_once)
    mailer.before = take_time
    assert await send_due(make_outbox(mail_lease_s=1)) == 1
    assert tried_at[1] - tried_at[0] >= 0.2  # a quarter of the lease
    lines = capsys.readouterr().out.splitlines()
    (logged,) = [json.loads(line) for line in lines if "mail lease not renewed" in line]
    assert ("exception" in logged) == isinstance(error, ValueError)


async def test_content_that_is_allowed_has_half_a_lease_at_least(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    left: list[float] = []

    async def nearly_end(method: str) -> None:
        if method == "send":
            await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
        else:
            left.append(
                await connection.fetchval(
                    "SELECT extract(epoch FROM email_due_at - clock_timestamp()) FROM exports"
                )
            )

    mailer.before = nearly_end
    await send_due(make_outbox(mail_lease_s=600))
    assert 240 < left[-1] <= 300


async def test_a_worker_that_lost_its_lease_while_the_server_took_its_time_changes_nothing(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    taken: dict[UUID, Record | None] = {}

    async def freeze(method: str) -> None:
        if method == "answer" and not taken:
            await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
            (other,) = await make_outbox().claim_due(1)
            taken[other.id] = await connection.fetchrow("SELECT * FROM exports")

    mailer.before = freeze
    await send_due(make_outbox(mail_lease_s=60))
    assert await connection.fetchrow("SELECT * FROM exports") == taken[succeeded.id]


async def test_a_claim_passes_by_what_another_one_holds(
    succeeded: Export, make_outbox: Callable[..., Outbox], connection: Connection
) -> None:
    async with connection.transaction(), asyncio.timeout(10):
        await connection.execute("SELECT FROM exports FOR UPDATE")
        assert await make_outbox().claim_due(1) == []


async def test_the_mail_of_a_sender_that_died_is_due_again_after_its_lease(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    await make_outbox().claim_due(1)
    assert await send_due(make_outbox()) == 0
    await connection.execute("UPDATE exports SET email_due_at = email_due_at - interval '60 s'")
    assert await send_due(make_outbox()) == 1
    assert len(mailer.messages) == 1


async def test_a_sender_that_lost_its_lease_sends_nothing(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    (held,) = await make_outbox().claim_due(1)
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    await send_due(make_outbox())
    before = await connection.fetchrow("SELECT * FROM exports")
    await make_outbox().send(held, claimed_at=time.monotonic() - 60)
    assert await connection.fetchrow("SELECT * FROM exports") == before
    assert len(mailer.messages) == 1


async def test_a_sender_whose_mail_was_requested_again_and_claimed_by_another_sends_nothing(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database: Database,
    connection: Connection,
) -> None:
    (held,) = await make_outbox().claim_due(1)
    await resend_email(database, succeeded.id, None)
    (claimed,) = await make_outbox().claim_due(1)
    assert claimed.email_attempts == held.email_attempts
    before = await connection.fetchrow("SELECT * FROM exports")
    await make_outbox().send(held)
    assert mailer.messages == []
    assert await connection.fetchrow("SELECT * FROM exports") == before


async def test_a_mail_withdrawn_before_its_content_does_not_leave(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    database: Database,
    attempt_cleaner: AttemptCleaner,
) -> None:
    async def withdraw(method: str) -> None:
        if method == "send":
            await delete_export(database, attempt_cleaner, succeeded.id, None)

    mailer.before = withdraw
    await send_due(outbox)
    assert mailer.messages == []
    assert (await reload(database, succeeded)).email_status is None


async def test_a_mail_requested_again_before_its_content_leaves_once(
    succeeded: Export, outbox: Outbox, mailer: MemoryMailer, database: Database
) -> None:
    async def ask_again(method: str) -> None:
        if method == "send":
            mailer.before = nothing
            await resend_email(database, succeeded.id, None)

    mailer.before = ask_again
    assert [await send_due(outbox) for _ in range(3)] == [1, 1, 0]
    (message,) = mailer.messages
    assert f"{succeeded.id}.1." in message["Message-ID"]


async def test_a_permission_to_send_that_came_late_is_not_used(
    succeeded: Export,
    outbox: Outbox,
    mailer: MemoryMailer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mail_lease, "CONTENT_PERMIT_MAX_S", 0)
    await send_due(outbox)
    assert mailer.messages == []
    row = await connection.fetchrow(EMAIL)
    assert row is not None
    assert (row["email_status"], row["email_unanswered"]) == ("pending", 0)


async def test_without_the_database_no_content_leaves(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database_proxy: Proxy,
    database_via_proxy: Database,
    connection: Connection,
) -> None:
    async def lose_the_database(_method: str) -> None:
        await database_proxy.stop()

    mailer.before = lose_the_database
    with pytest.raises(DatabaseUnavailable):
        await send_due(make_outbox(database=database_via_proxy, record_timeout_s=0.1))
    assert mailer.messages == []


async def assert_due_much_later(connection: Connection) -> None:
    """Fail unless the mail is due as one without an answer is, also after late renewals."""
    await asyncio.sleep(0.5)
    due_in = "SELECT email_due_at - clock_timestamp() > interval '50 min' FROM exports"
    assert await connection.fetchval(due_in)


async def test_a_renewal_under_way_does_not_replace_when_the_mail_is_due_again(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database: Database,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()
    fetchrow = database.fetchrow

    async def wait_for_row(sql: str, **values: Any) -> Record | None:
        begun.set()
        await asyncio.sleep(0.3)
        return await fetchrow(sql, **values)

    async def slow_renewal(sql: str, /, **values: Any) -> Record | None:
        if sql == mail_lease.RENEW:  # the server has it: cancelling comes too late
            return await asyncio.shield(wait_for_row(sql, **values))
        return await fetchrow(sql, **values)

    async def get_no_answer(method: str) -> None:
        if method == "answer":
            await begun.wait()
            raise UNANSWERED

    monkeypatch.setattr(database, "fetchrow", slow_renewal)
    mailer.before = get_no_answer
    await send_due(make_outbox(mail_lease_s=1))
    await assert_due_much_later(connection)


async def test_a_renewal_that_waits_for_the_outcome_does_not_replace_it(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    database: Database,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetchrow = database.fetchrow

    async def slow_outcome(sql: str, /, **values: Any) -> Record | None:
        if sql == mail_lease.RENEW:  # the server has it at once: cancelling comes too late
            return await asyncio.shield(fetchrow(sql, **values))
        if sql != mail_lease.ALLOW_CONTENT:
            await asyncio.sleep(1)  # renewals are due four times meanwhile
        return await fetchrow(sql, **values)

    monkeypatch.setattr(database, "fetchrow", slow_outcome)
    mailer.before = fails("answer", UNANSWERED)
    await send_due(make_outbox(mail_lease_s=1))
    await assert_due_much_later(connection)
