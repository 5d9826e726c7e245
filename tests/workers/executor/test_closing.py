"""Closing the executor: what runs may end, what waits stays queued."""

import asyncio

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import MailDeferred
from tests.exports.conftest import reload
from tests.fakes import MemoryMailer, fails
from tests.workers.conftest import Ask
from tests.workers.executor.conftest import Gate, Start
from workers.executor import ExportExecutor


async def test_closing_starts_nothing_more_of_what_waits(
    create_export: Ask, executor: ExportExecutor, gate: Gate, connection: Connection
) -> None:
    for number in range(5):
        await create_export(recipient_email=f"{number}@example.com")
    await executor.run_waiting()
    await gate.until_waiting(2)
    closing = asyncio.create_task(executor.close(5))
    await asyncio.sleep(0)
    gate.open.set()
    await closing
    query = "SELECT array_agg(status ORDER BY status) FROM exports"
    assert await connection.fetchval(query) == ["queued"] * 3 + ["succeeded"] * 2


async def test_closing_waits_for_mails_under_way(
    create_export: Ask, executor: ExportExecutor, mailer: MemoryMailer
) -> None:
    begun = asyncio.Event()

    async def take_a_moment(_method: str) -> None:
        begun.set()
        await asyncio.sleep(0.1)

    mailer.before = take_a_moment
    export = await create_export()
    await executor.run_next("small", export.key)
    await begun.wait()
    await executor.close(5)
    assert len(mailer.messages) == 1


async def test_closing_gives_back_what_runs_for_too_long(
    create_export: Ask, executor: ExportExecutor, start: Start, gate: Gate, database: Database
) -> None:
    export = await create_export()
    job = start(export)
    await gate.until_waiting(1)
    await executor.close(0.1)
    with pytest.raises(asyncio.CancelledError):
        await job
    given_back = await reload(database, export)
    assert (given_back.status, given_back.failures) == ("queued", 0)


async def test_closing_starts_nothing_that_waits_for_a_slot(
    create_export: Ask, executor: ExportExecutor, start: Start, gate: Gate, connection: Connection
) -> None:
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(3)]
    jobs = [start(export) for export in exports]
    await gate.until_waiting(2)
    closing = asyncio.create_task(executor.close(5))
    with pytest.raises(asyncio.CancelledError):
        await jobs[2]
    gate.open.set()
    await closing
    query = "SELECT array_agg(status ORDER BY id) FROM exports"
    assert await connection.fetchval(query) == ["succeeded", "succeeded", "queued"]


async def test_a_deferred_mail_does_not_hold_up_the_end(
    create_export: Ask, executor: ExportExecutor, mailer: MemoryMailer, database: Database
) -> None:
    mailer.before = fails("send", MailDeferred("later"))
    export = await create_export()
    await executor.run_next("small", export.key)
    await executor.close(5)
    assert (await reload(database, export)).email_status == "pending"
