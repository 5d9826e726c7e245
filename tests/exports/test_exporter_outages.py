"""An attempt whose database, queue or store goes away at the worst moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection, create_engine
from app.errors import DatabaseUnavailable, LeaseLost, QueueUnavailable, StorageUnavailable
from app.exports import exporter as exporter_module
from app.exports.exporter import Exporter
from app.exports.sweep import Sweep
from app.models import Export
from tests.exports.conftest import reread
from tests.fakes import Before, MemoryNews, MemoryQueue, MemoryStorage, fails
from tests.proxy import EXECUTE, CutAnswer, Proxy, Reset
from tests.waiting import until

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
def make(
    engine: AsyncEngine,
    storage: MemoryStorage,
    queue: MemoryQueue,
    news: MemoryNews,
    quick: Settings,
) -> Callable[..., Exporter]:
    """Make a worker's exporter; keyword arguments change its engines and settings."""

    def make(
        engine: AsyncEngine = engine, audience_engine: AsyncEngine | None = None, **changes: Any
    ) -> Exporter:
        changed = quick.model_copy(update=changes)
        return Exporter(
            engine, audience_engine or engine, storage, queue, news, changed, worker="tests"
        )

    return make


async def claimed(exporter: Exporter, export: Export) -> Export:
    """Claim an export that must be there to claim."""
    taken = await exporter.claim(export.seller_id, export.id)
    assert taken is not None
    return taken


def at(method: str, act: Callable[[], Awaitable[None]]) -> Before:
    """Return what does ``act`` when a method of the store is called."""

    async def before(called: str) -> None:
        if called == method:
            await act()

    return before


async def test_a_success_whose_commit_was_not_confirmed_is_a_success(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, heartbeat_s=60)
    running = await claimed(exporter, await ask())

    async def lose_the_answer() -> None:
        database_proxy.fault(CutAnswer(), on=EXECUTE)

    storage.before = at("put", lose_the_answer)
    ended = await exporter.run(running)
    assert ended is not None
    assert (ended.status, ended.attempt) == ("succeeded", 1)
    assert list(storage.objects) == [ended.object_key]
    assert (await reread(engine, ended)).status == "succeeded"


async def test_a_failure_whose_commit_was_not_confirmed_counts_once(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    exporter = make(far_engine, heartbeat_s=60)
    running = await claimed(exporter, await ask())

    async def break_() -> None:
        database_proxy.fault(CutAnswer(), on=EXECUTE)
        raise ZeroDivisionError

    storage.before = at("put", break_)
    assert await exporter.run(running) is None
    now = await reread(engine, running)
    assert (now.status, now.failures) == ("queued", 1)
    assert await connection.fetchval("SELECT residue FROM exports") == [1]


async def test_an_end_is_recorded_when_the_database_is_back(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, heartbeat_s=60, record_timeout_s=30)
    running = await claimed(exporter, await ask())
    storage.before = at("put", database_proxy.stop)
    working = asyncio.create_task(exporter.run(running))

    async def is_stored() -> bool:
        return bool(storage.objects)

    await until(is_stored)
    await database_proxy.start()
    ended = await working
    assert ended is not None
    assert (await reread(engine, ended)).status == "succeeded"


async def test_a_database_that_stays_away_leaves_the_export_to_the_sweep(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
    sweep: Sweep,
    connection: Connection,
) -> None:
    exporter = make(far_engine, heartbeat_s=60, record_timeout_s=0.1)
    running = await claimed(exporter, await ask())
    storage.before = at("put", database_proxy.stop)
    assert await exporter.run(running) is None
    await connection.execute("UPDATE exports SET lease_expires_at = clock_timestamp()")
    assert len(await sweep.take_back()) == 1
    await sweep.clear_residue()
    assert storage.objects == {}
    assert (await reread(engine, running)).status == "queued"


async def test_a_lost_lease_and_a_database_that_stays_away_end_the_attempt_quietly(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, heartbeat_s=60, record_timeout_s=0.1)
    running = await claimed(exporter, await ask())

    async def lose_everything() -> None:
        await database_proxy.stop()
        raise LeaseLost("The export was taken from this worker.")

    storage.before = at("put", lose_everything)
    assert await exporter.run(running) is None


async def test_an_attempt_ends_when_its_lease_cannot_be_renewed(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, engine, lease_s=0.3, record_timeout_s=30)
    running = await claimed(exporter, await ask())

    async def lose_the_database() -> None:
        await database_proxy.stop()
        await asyncio.Event().wait()

    storage.before = at("put", lose_the_database)
    working = asyncio.create_task(exporter.run(running))

    async def has_stopped() -> bool:
        return database_proxy.open_connections == 0 and not storage.objects

    await until(has_stopped)
    await asyncio.sleep(0.5)
    await database_proxy.start()
    ended = await working
    assert ended is not None
    assert (ended.status, ended.error_code, ended.failures) == ("queued", "database_unavailable", 0)


async def test_a_lost_connection_costs_an_attempt_and_nothing_else(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
) -> None:
    exporter = make(engine, far_engine)
    export = await ask()
    database_proxy.fault(Reset(), on=rb"COPY")
    ended = await exporter.run(await claimed(exporter, export))
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "database_unavailable")
    await asyncio.sleep(0.01)
    again = await exporter.run(await claimed(exporter, export))
    assert again is not None
    assert again.status == "succeeded"


async def test_a_claim_whose_commit_was_not_confirmed_runs_out(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    sweep: Sweep,
    connection: Connection,
) -> None:
    exporter = make(far_engine)
    export = await ask()
    database_proxy.fault(CutAnswer(), on=EXECUTE)
    with pytest.raises(DatabaseUnavailable):
        await exporter.claim(export.seller_id, export.id)
    assert (await reread(engine, export)).status == "running"
    await connection.execute("UPDATE exports SET lease_expires_at = clock_timestamp()")
    assert len(await sweep.take_back()) == 1
    assert (await exporter.run(await claimed(exporter, export))) is not None


async def test_a_hand_back_does_not_wait_for_a_database_that_is_away(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, heartbeat_s=60, record_timeout_s=300)
    running = await claimed(exporter, await ask())
    begun = asyncio.Event()

    async def stay() -> None:
        await database_proxy.stop()
        begun.set()
        await asyncio.Event().wait()

    storage.before = at("put", stay)
    working = asyncio.create_task(exporter.run(running))
    await begun.wait()
    working.cancel()
    async with asyncio.timeout(exporter_module.HAND_BACK_S + 3):
        await asyncio.gather(working, return_exceptions=True)


async def test_a_worker_told_to_stop_while_it_records_success_has_succeeded_or_hands_back(
    ask: Ask,
    make: Callable[..., Exporter],
    far_engine: AsyncEngine,
    engine: AsyncEngine,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(far_engine, heartbeat_s=60, record_timeout_s=300)
    running = await claimed(exporter, await ask())
    storage.before = at("put", database_proxy.stop)
    working = asyncio.create_task(exporter.run(running))

    async def is_stored() -> bool:
        return bool(storage.objects)

    await until(is_stored)
    await database_proxy.start()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    now = await reread(engine, running)
    assert now.status in ("succeeded", "queued")


async def test_with_redis_away_an_export_runs_all_the_same(
    ask: Ask, make: Callable[..., Exporter], queue: MemoryQueue, news: MemoryNews
) -> None:
    away = QueueUnavailable("The job queue cannot be reached.")
    queue.before, news.before = fails("ring", away, 99), fails("publish", away, 99)
    exporter = make()
    ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    assert ended.status == "succeeded"


async def test_a_store_that_hangs_does_not_keep_a_failed_attempt_from_ending(
    ask: Ask, make: Callable[..., Exporter], storage: MemoryStorage, connection: Connection
) -> None:
    await connection.execute("""
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT 1, repeat('a', 200) || number || '@x.co', now(), now()
        FROM generate_series(1, 40000) AS number
    """)

    async def break_or_hang(method: str) -> None:
        if method == "upload_part":
            raise StorageUnavailable("away")
        if method == "abort_upload":
            await asyncio.Event().wait()

    storage.before = break_or_hang
    exporter = make(part_bytes=5 * 1024 * 1024, stall_timeout_s=60)
    running = await claimed(exporter, await ask())
    async with asyncio.timeout(10):
        ended = await exporter.run(running)
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "storage_unavailable")


async def test_reads_that_a_standby_cancels_fall_back_to_the_primary(
    ask: Ask, make: Callable[..., Exporter], connection: Connection, engine: AsyncEngine
) -> None:
    nowhere = create_engine("postgresql://127.0.0.1:1/nowhere", pool_size=1)
    exporter = make(engine, nowhere, max_failures=9)
    export = await ask()
    await connection.execute("UPDATE exports SET attempt = 2, error_code = 'source_busy'")
    ended = await exporter.run(await claimed(exporter, export))
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "database_unavailable")
    await connection.execute("""
        UPDATE exports
        SET attempt = 3, error_code = 'source_busy', due_at = clock_timestamp()
    """)
    ended = await exporter.run(await claimed(exporter, export))
    assert ended is not None
    assert ended.status == "succeeded"
