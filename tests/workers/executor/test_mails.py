"""The executor sends the mails of the exports that it ran."""

import asyncio

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import DatabaseUnavailable
from app.exports.delivery.outbox import Outbox
from app.models import Export
from app.observability.metrics import Metrics
from tests.exports.conftest import reload
from tests.fakes import MemoryMailer
from tests.polling import until
from tests.workers.conftest import Ask
from tests.workers.executor.conftest import unexpected
from workers import executor as executor_module
from workers.executor import ExportExecutor


async def test_a_mail_is_held_by_the_worker_that_made_the_file(
    create_export: Ask,
    executor: ExportExecutor,
    mailer: MemoryMailer,
    outbox: Outbox,
    database: Database,
) -> None:
    sending, may_continue = asyncio.Event(), asyncio.Event()

    async def wait(_method: str) -> None:
        sending.set()
        await may_continue.wait()

    mailer.before = wait
    export = await create_export()
    await executor.run_next("small", export.key)
    await sending.wait()
    assert await outbox.claim_due(1) == []
    assert (await reload(database, export)).email_attempts == 1
    may_continue.set()


async def test_an_unexpected_error_of_a_mail_ends_nothing_else(
    create_export: Ask,
    executor: ExportExecutor,
    outbox: Outbox,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outbox, "send", broken)
    export = await create_export()
    await executor.run_next("small", export.key)
    await executor.close(5)
    assert unexpected(metrics, "outbox") == 1


async def test_no_mail_is_claimed_that_would_have_to_wait(
    create_export: Ask,
    executor: ExportExecutor,
    mailer: MemoryMailer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor_module, "MAX_CONCURRENT_MAILS", 2)
    may_continue = asyncio.Event()

    async def wait(_method: str) -> None:
        await may_continue.wait()

    mailer.before = wait
    for number in range(3):
        export = await create_export(recipient_email=f"{number}@example.com")
        await executor.run_next("small", export.key)
    claimed = "SELECT count(*) FROM exports WHERE email_attempts > 0"
    for _ in range(2):
        await executor.send_due_mails()
        assert await connection.fetchval(claimed) == 2
    may_continue.set()

    async def are_sent() -> bool:
        await executor.send_due_mails()
        return len(mailer.messages) == 3

    await until(are_sent)


async def test_a_mail_whose_end_cannot_be_recorded_stops_nobody(
    create_export: Ask, executor: ExportExecutor, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_export: Export, _claimed_at: float) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(outbox, "send", away)
    export = await create_export()
    await executor.run_next("small", export.key)
    await executor.close(5)
