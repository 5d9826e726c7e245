"""The lanes of the executor: what fills one does not hold up the other."""

import asyncio

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.exports.execution.yield_gate import YieldGate
from app.exports.queue import lanes
from app.ports import Lane
from tests.audience.storefront import Storefront
from tests.exports.conftest import reload
from tests.fakes import MemoryStorage, nothing
from tests.polling import until
from tests.workers.conftest import Ask
from tests.workers.executor.conftest import Gate
from workers.executor import ExecutionSlots, ExportExecutor


@pytest.fixture
def large_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sellers with any member at all are large; those without are small."""
    monkeypatch.setattr(lanes, "SMALL_ROWS", 0)


@pytest.mark.usefixtures("large_rows")
async def test_small_exports_go_on_while_the_large_slot_is_taken(
    create_export: Ask,
    executor: ExportExecutor,
    gate: Gate,
    storage: MemoryStorage,
    storefront: Storefront,
    database: Database,
) -> None:
    await storefront.follow("ann@x.co", seller_id=1)
    large = [await create_export(recipient_email=f"{number}@x.co") for number in range(3)]
    jobs = [asyncio.create_task(executor.run_next("large", each.key)) for each in large]
    await gate.until_waiting(1)
    storage.before = nothing
    for seller_id in (2, 3):
        small = await create_export(seller_id=seller_id)
        await executor.run_next("small", small.key)
        assert (await reload(database, small)).status == "succeeded"
    assert [(await reload(database, each)).status for each in large[1:]] == ["queued", "queued"]
    gate.open.set()
    await asyncio.gather(*jobs)
    assert {(await reload(database, each)).status for each in large} == {"succeeded"}


async def test_a_full_lane_does_not_keep_what_waits_in_another(
    create_export: Ask,
    executor: ExportExecutor,
    gate: Gate,
    connection: Connection,
    database: Database,
) -> None:
    for number in range(3):
        await create_export(recipient_email=f"{number}@example.com")
    await executor.run_waiting()
    await gate.until_waiting(2)
    large = await create_export(seller_id=2)
    await connection.execute("UPDATE exports SET lane = 'large' WHERE seller_id = 2")
    await executor.run_waiting()
    await gate.until_waiting(3)
    assert (await reload(database, large)).status == "running"
    gate.open.set()


async def test_a_worker_of_one_lane_leaves_the_other_to_other_workers(
    create_export: Ask,
    executor: ExportExecutor,
    settings: Settings,
    connection: Connection,
    database: Database,
) -> None:
    only_large = settings.model_copy(update={"worker_lanes": ("large",)})
    executor._slots = ExecutionSlots(only_large)
    small = await create_export()
    large = await create_export(seller_id=2)
    await connection.execute("UPDATE exports SET lane = 'large' WHERE seller_id = 2")
    await executor.run_waiting()

    async def is_done() -> bool:
        return (await reload(database, large)).status == "succeeded"

    await until(is_done)
    assert (await reload(database, small)).status == "queued"


async def test_a_worker_without_a_free_slot_does_not_look(
    executor: ExportExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor._slots, "count", lambda _: 0)
    monkeypatch.setattr(executor, "_exporter", None)
    await executor.run_waiting()


async def test_a_worker_with_one_slot_has_it_for_both_lanes(settings: Settings) -> None:
    slots = ExecutionSlots(
        settings.model_copy(update={"worker_concurrency": 1, "large_export_concurrency": 5})
    )
    assert slots.slots("small") is slots.slots("large")


@pytest.mark.parametrize("lane", ["small", "large"])
async def test_large_exports_give_way_while_a_small_one_runs(
    create_export: Ask,
    executor: ExportExecutor,
    gate: Gate,
    yields: YieldGate,
    connection: Connection,
    lane: Lane,
) -> None:
    export = await create_export()
    await connection.execute("UPDATE exports SET lane = $1", lane)
    job = asyncio.create_task(executor.run_next(lane, export.key))
    await gate.until_waiting(1)
    assert yields.is_busy == (lane == "small")
    gate.open.set()
    await job
    assert not yields.is_busy
