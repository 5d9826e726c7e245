"""The executor runs exports: in its slots, in turn, on when arq's job is cancelled."""

import asyncio

import pytest
from sqlalchemy import text

from app.database.connections import Connection
from app.database.database import Database
from app.errors import DatabaseUnavailable
from app.observability.metrics import Metrics
from tests.exports.conftest import reload
from tests.fakes import MemoryMailer
from tests.polling import until
from tests.workers.conftest import Ask
from tests.workers.executor.conftest import Gate, Start, unexpected
from workers.executor import ExportExecutor


async def test_an_export_ends_and_its_mail_goes_out(
    create_export: Ask, executor: ExportExecutor, mailer: MemoryMailer, database: Database
) -> None:
    export = await create_export()
    await executor.run_next("small", export.key)
    await executor.close(5)
    assert len(mailer.messages) == 1
    assert (await reload(database, export)).email_status == "sent"


async def test_no_more_exports_run_than_there_are_slots(
    create_export: Ask, start: Start, gate: Gate, connection: Connection
) -> None:
    jobs = [
        start(await create_export(recipient_email=f"{number}@example.com")) for number in range(4)
    ]
    await gate.until_waiting(2)
    query = "SELECT array_agg(DISTINCT status ORDER BY status) FROM exports"
    assert await connection.fetchval(query) == ["queued", "running"]
    gate.open.set()
    await asyncio.gather(*jobs)
    assert gate.waiting == 4
    assert await connection.fetchval(query) == ["succeeded"]


async def test_two_wake_ups_for_one_export_run_it_once(
    create_export: Ask, start: Start, gate: Gate
) -> None:
    export = await create_export()
    jobs = [start(export), start(export)]
    await gate.until_waiting(1)
    gate.open.set()
    await asyncio.gather(*jobs)
    assert gate.waiting == 1


async def test_an_export_goes_on_when_its_job_is_cancelled(
    create_export: Ask, start: Start, gate: Gate, database: Database
) -> None:
    export = await create_export()
    job = start(export)
    await gate.until_waiting(1)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    gate.open.set()

    async def has_succeeded() -> bool:
        return (await reload(database, export)).status == "succeeded"

    await until(has_succeeded)
    assert (await reload(database, export)).attempt == 1


async def test_sellers_take_turns(
    create_export: Ask, executor: ExportExecutor, connection: Connection
) -> None:
    many = [await create_export(recipient_email=f"{number}@x.co") for number in range(3)]
    later = [await create_export(seller_id=seller_id) for seller_id in (2, 3)]
    for export in (*many, *later):
        await executor.run_next("small", export.key)
    order = await connection.fetch("SELECT seller_id FROM exports ORDER BY started_at")
    assert [row["seller_id"] for row in order] == [1, 2, 3, 1, 1]


async def test_a_wake_up_for_an_export_that_is_locked_waits_for_it(
    create_export: Ask, start: Start, connection: Connection, database: Database
) -> None:
    export = await create_export()
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR NO KEY UPDATE")
        job = start(export)

        async def is_blocked() -> bool:
            async with database.engine.connect() as other:
                query = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                return bool(await other.scalar(query))

        await until(is_blocked)
    await job
    assert (await reload(database, export)).status == "succeeded"


async def test_what_waits_runs_without_a_wake_up_in_all_slots(
    create_export: Ask, executor: ExportExecutor, gate: Gate, connection: Connection
) -> None:
    for number in range(5):
        await create_export(recipient_email=f"{number}@example.com")
    assert executor.room("small") == 2
    await executor.run_waiting()
    await gate.until_waiting(2)
    assert (executor.room("small"), executor.room("large")) == (0, 1)
    await executor.run_waiting()
    gate.open.set()

    async def are_done() -> bool:
        query = "SELECT count(*) FROM exports WHERE status = 'succeeded'"
        return bool(await connection.fetchval(query) == 5)

    await until(are_done)
    assert gate.waiting == 5


async def test_a_wake_up_for_what_is_done_does_nothing(
    create_export: Ask, executor: ExportExecutor
) -> None:
    export = await create_export()
    for _ in range(2):
        await executor.run_next("small", export.key)


async def test_an_export_that_could_not_be_claimed_is_left_to_the_recovery(
    create_export: Ask, executor: ExportExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(executor, "_exporter", type("Away", (), {"claim_next": away})())
    export = await create_export()
    await executor.run_next("small", export.key)


async def test_an_unexpected_error_of_an_export_ends_nothing_else(
    create_export: Ask,
    executor: ExportExecutor,
    metrics: Metrics,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = executor._exporter
    monkeypatch.setattr(executor, "_exporter", None)
    export = await create_export()
    await executor.run_next("small", export.key)
    assert unexpected(metrics, "executor") == 1
    monkeypatch.setattr(executor, "_exporter", exporter)
    await executor.run_next("small", export.key)
    assert (await reload(database, export)).status == "succeeded"
