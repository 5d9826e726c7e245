"""An attempt whose database, queue or store goes away at the worst moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.config import Settings
from app.database.connections import Connection, create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable, LeaseLost, QueueUnavailable, StorageUnavailable
from app.exports.cleanup.attempt_cleanup import AttemptCleanup
from app.exports.execution.completion import RELEASE_TIMEOUT_S
from app.exports.execution.exporter import Exporter, RunResult
from app.exports.queue.recovery import QueueRecovery
from app.models import Export
from app.observability.metrics import Metrics
from tests.exports.conftest import reload
from tests.fakes import Before, MemoryExportEvents, MemoryQueue, MemoryStorage, fails
from tests.polling import until
from tests.proxy import EXECUTE, CutAnswer, Proxy, Reset

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
def make(
    database: Database,
    storage: MemoryStorage,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    fast_settings: Settings,
) -> Callable[..., Exporter]:
    """Make a worker's exporter; keyword arguments change its engines and settings."""

    def make(
        database: Database = database,
        audience_database: Database | None = None,
        metrics: Metrics | None = None,
        **changes: Any,
    ) -> Exporter:
        changed = fast_settings.model_copy(update=changes)
        reads = audience_database or database
        return Exporter(database, reads, storage, queue, export_events, changed, "tests", metrics)

    return make


async def claimed(exporter: Exporter, export: Export) -> Export:
    """Claim an export that must be there to claim."""
    taken = await exporter.claim(export.key)
    assert taken is not None
    return taken


def at(method: str, act: Callable[[], Awaitable[None]]) -> Before:
    """Return what does ``act`` when a method of the store is called."""

    async def before(called: str) -> None:
        if called == method:
            await act()

    return before


async def test_a_success_whose_commit_was_not_confirmed_is_a_success(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60)
    running = await claimed(exporter, await create_export())

    async def lose_the_answer() -> None:
        database_proxy.fault(CutAnswer(), on=EXECUTE)

    storage.before = at("put", lose_the_answer)
    ended = (await exporter.run(running)).export
    assert ended is not None
    assert (ended.status, ended.attempt) == ("succeeded", 1)
    assert list(storage.objects) == [ended.object_key]
    assert (await reload(database, ended)).status == "succeeded"


@pytest.mark.parametrize("status", ["deleted", "expired", "cancelled", "failed", "queued"])
async def test_whatever_became_of_a_success_whose_commit_was_not_confirmed(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    """The owner may erase the file before the worker has asked what became of its end."""
    metrics = Metrics()
    exporter = make(database_via_proxy, heartbeat_s=60, metrics=metrics)
    running = await claimed(exporter, await create_export())
    attempts = exporter._leases
    mark_for_cleanup = attempts.mark_for_cleanup

    async def too_late(export: Export, key: str) -> Export | None:
        await connection.execute("UPDATE exports SET status = $1, email_status = NULL", status)
        return await mark_for_cleanup(export, key)

    async def lose_the_answer() -> None:
        database_proxy.fault(CutAnswer(), on=EXECUTE)

    monkeypatch.setattr(attempts, "mark_for_cleanup", too_late)
    storage.before = at("put", lose_the_answer)
    ended = (await exporter.run(running)).export
    assert ended is not None
    assert ended.status == status
    counted = metrics.registry.get_sample_value(
        "audience_export_exports_finished_total", {"status": "succeeded", "code": ""}
    )
    assert counted == 1


async def test_a_failure_whose_commit_was_not_confirmed_counts_once(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60)
    running = await claimed(exporter, await create_export())

    async def break_() -> None:
        database_proxy.fault(CutAnswer(), on=EXECUTE)
        raise ZeroDivisionError

    storage.before = at("put", break_)
    assert (await exporter.run(running)).export is None
    now = await reload(database, running)
    assert (now.status, now.failures) == ("queued", 1)
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1]


async def store_during_an_outage(
    exporter: Exporter, running: Export, storage: MemoryStorage, database_proxy: Proxy
) -> asyncio.Task[RunResult]:
    """Begin an attempt; return it once the file is stored and the database, down since, is back."""
    storage.before = at("put", database_proxy.stop)
    working = asyncio.create_task(exporter.run(running))

    async def is_stored() -> bool:
        return bool(storage.objects)

    await until(is_stored)
    await database_proxy.start()
    return working


async def test_an_end_is_recorded_when_the_database_is_back(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60, record_timeout_s=30)
    running = await claimed(exporter, await create_export())
    working = await store_during_an_outage(exporter, running, storage, database_proxy)
    ended = (await working).export
    assert ended is not None
    assert (await reload(database, ended)).status == "succeeded"


async def test_a_database_that_stays_away_leaves_the_export_to_the_recovery(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
    recovery: QueueRecovery,
    attempt_cleanup: AttemptCleanup,
    connection: Connection,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60, record_timeout_s=0.1)
    running = await claimed(exporter, await create_export())
    storage.before = at("put", database_proxy.stop)
    assert (await exporter.run(running)).export is None
    await connection.execute("UPDATE exports SET lease_expires_at = clock_timestamp()")
    assert len(await recovery.reclaim_expired_leases()) == 1
    await attempt_cleanup.clean_up_failed_attempts()
    assert storage.objects == {}
    assert (await reload(database, running)).status == "queued"


async def test_a_lost_lease_and_a_database_that_stays_away_end_the_attempt_quietly(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60, record_timeout_s=0.1)
    running = await claimed(exporter, await create_export())

    async def lose_everything() -> None:
        await database_proxy.stop()
        raise LeaseLost("The export was taken from this worker.")

    storage.before = at("put", lose_everything)
    assert (await exporter.run(running)).export is None


async def test_an_attempt_ends_when_its_lease_cannot_be_renewed(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, database, lease_s=0.3, record_timeout_s=30)
    running = await claimed(exporter, await create_export())

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
    ended = (await working).export
    assert ended is not None
    assert (ended.status, ended.error_code, ended.failures) == ("queued", "database_unavailable", 0)


async def test_a_lost_connection_costs_an_attempt_and_nothing_else(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
) -> None:
    exporter = make(database, database_via_proxy)
    export = await create_export()
    database_proxy.fault(Reset(), on=rb"COPY")
    ended = (await exporter.run(await claimed(exporter, export))).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "database_unavailable")
    await asyncio.sleep(0.01)
    again = (await exporter.run(await claimed(exporter, export))).export
    assert again is not None
    assert again.status == "succeeded"


async def test_a_claim_whose_commit_was_not_confirmed_runs_out(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    recovery: QueueRecovery,
    connection: Connection,
) -> None:
    exporter = make(database_via_proxy)
    export = await create_export()
    database_proxy.fault(CutAnswer(), on=EXECUTE)
    with pytest.raises(DatabaseUnavailable):
        await exporter.claim(export.key)
    assert (await reload(database, export)).status == "running"
    await connection.execute("UPDATE exports SET lease_expires_at = clock_timestamp()")
    assert len(await recovery.reclaim_expired_leases()) == 1
    assert ((await exporter.run(await claimed(exporter, export))).export) is not None


async def test_a_release_does_not_wait_for_a_database_that_is_unavailable(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60, record_timeout_s=300)
    running = await claimed(exporter, await create_export())
    begun = asyncio.Event()

    async def stay() -> None:
        await database_proxy.stop()
        begun.set()
        await asyncio.Event().wait()

    storage.before = at("put", stay)
    working = asyncio.create_task(exporter.run(running))
    await begun.wait()
    working.cancel()
    async with asyncio.timeout(RELEASE_TIMEOUT_S + 3):
        await asyncio.gather(working, return_exceptions=True)


async def test_a_worker_told_to_stop_while_it_records_success_has_succeeded_or_releases(
    create_export: Ask,
    make: Callable[..., Exporter],
    database_via_proxy: Database,
    database: Database,
    database_proxy: Proxy,
    storage: MemoryStorage,
) -> None:
    exporter = make(database_via_proxy, heartbeat_s=60, record_timeout_s=300)
    running = await claimed(exporter, await create_export())
    working = await store_during_an_outage(exporter, running, storage, database_proxy)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    now = await reload(database, running)
    assert now.status in ("succeeded", "queued")


async def test_with_redis_away_an_export_runs_all_the_same(
    create_export: Ask,
    make: Callable[..., Exporter],
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
) -> None:
    away = QueueUnavailable("The job queue cannot be reached.")
    queue.before, export_events.before = fails("enqueue", away, 99), fails("publish", away, 99)
    exporter = make()
    ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    assert ended.status == "succeeded"


async def test_a_store_that_hangs_does_not_keep_a_failed_attempt_from_ending(
    create_export: Ask,
    make: Callable[..., Exporter],
    storage: MemoryStorage,
    connection: Connection,
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
    running = await claimed(exporter, await create_export())
    async with asyncio.timeout(10):
        ended = (await exporter.run(running)).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "storage_unavailable")


async def test_reads_that_a_standby_cancels_fall_back_to_the_primary(
    create_export: Ask, make: Callable[..., Exporter], connection: Connection, database: Database
) -> None:
    nowhere = Database(create_engine("postgresql://127.0.0.1:1/nowhere", pool_size=1))
    exporter = make(database, nowhere, max_failures=9)
    export = await create_export()
    await connection.execute("UPDATE exports SET attempt = 2, error_code = 'source_busy'")
    ended = (await exporter.run(await claimed(exporter, export))).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "database_unavailable")
    await connection.execute("""
        UPDATE exports
        SET attempt = 3, error_code = 'source_busy', due_at = clock_timestamp()
    """)
    ended = (await exporter.run(await claimed(exporter, export))).export
    assert ended is not None
    assert ended.status == "succeeded"
