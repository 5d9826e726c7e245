"""Every change of state is counted once, by the process that made it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.audience.drift import record_verification
from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database, DatabaseConnection
from app.errors import StorageRefused, StorageUnavailable
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.expiry import ExpirationTask
from app.exports.execution.exporter import Exporter
from app.exports.metrics import read_export_gauges
from app.exports.queue.recovery import QueueRecovery
from app.models import Export
from app.observability.metrics import Metrics
from tests.audience.storefront import Storefront
from tests.fakes import MemoryExportEvents, MemoryQueue, MemoryStorage

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
def metrics() -> Metrics:
    """The counters of this test's worker."""
    return Metrics()


@pytest.fixture
def exporter(
    database: Database,
    storage: MemoryStorage,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    fast_settings: Settings,
    metrics: Metrics,
) -> Exporter:
    """An exporter that counts."""
    return Exporter(
        database,
        database,
        storage,
        queue,
        export_events,
        fast_settings,
        worker="tests",
        metrics=metrics,
    )


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Return a sample, 0 where there is none."""
    return metrics.registry.get_sample_value(f"audience_export_{name}", labels) or 0


async def run(exporter: Exporter, export: Export) -> Export:
    """Make one attempt and return its end."""
    claimed = await exporter.claim(export.key)
    assert claimed is not None
    ended = (await exporter.run(claimed)).export
    assert ended is not None
    return ended


async def test_a_success_counts_its_rows_its_bytes_and_its_times(
    create_export: Ask, exporter: Exporter, metrics: Metrics, storefront: Storefront
) -> None:
    for name in ("ann", "bob"):
        await storefront.follow(f"{name}@x.co")
    ended = await run(exporter, await create_export())
    assert value(metrics, "exports_finished_total", status="succeeded", code="") == 1
    assert value(metrics, "rows_total") == 2
    assert value(metrics, "bytes_total") == ended.file_bytes
    assert ended.finished_at is not None
    assert ended.started_at is not None
    assert value(metrics, "processing_seconds_sum") == pytest.approx(
        (ended.finished_at - ended.started_at).total_seconds()
    )
    assert value(metrics, "queue_seconds_sum") == pytest.approx(
        (ended.started_at - ended.due_at).total_seconds()
    )


async def test_a_retry_is_no_end_and_a_failure_is_one_with_its_code(
    create_export: Ask,
    exporter: Exporter,
    metrics: Metrics,
    storage: MemoryStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[Exception] = [StorageRefused("no"), StorageUnavailable("later")]

    async def put(*_: Any) -> None:
        raise errors.pop()

    monkeypatch.setattr(storage, "put", put)
    export = await create_export()
    assert (await run(exporter, export)).status == "queued"
    assert value(metrics, "retries_total", code="storage_unavailable") == 1
    assert (await run(exporter, export)).status == "failed"
    assert value(metrics, "exports_finished_total", status="failed", code="storage_refused") == 1
    assert value(metrics, "rows_total") == 0


async def test_a_mail_that_was_not_sent_before_its_file_expired_is_given_up(
    create_export: Ask,
    exporter: Exporter,
    metrics: Metrics,
    database: Database,
    connection: Connection,
    storage: MemoryStorage,
    export_events: MemoryExportEvents,
) -> None:
    await run(exporter, await create_export())
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    await ExpirationTask(database, storage, export_events, metrics).expire_files()
    assert value(metrics, "mails_total", kind="ready", outcome="given_up") == 1
    assert value(metrics, "exports_finished_total", status="succeeded", code="") == 1


async def test_a_lease_that_is_reclaimed_is_counted_until_it_was_once_too_often(
    create_export: Ask,
    exporter: Exporter,
    metrics: Metrics,
    database: Database,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    attempt_cleaner: AttemptCleaner,
    fast_settings: Settings,
) -> None:
    recovery = QueueRecovery(database, queue, export_events, fast_settings, metrics)
    export = await create_export()
    for _ in range(fast_settings.max_failures):
        assert await exporter.claim(export.key)
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE exports SET lease_expires_at = '2000-01-01'"))
        await recovery.reclaim_expired_leases()
    assert value(metrics, "leases_reclaimed_total") == fast_settings.max_failures
    assert value(metrics, "retries_total", code="worker_lost") == fast_settings.max_failures - 1
    assert value(metrics, "exports_finished_total", status="failed", code="worker_lost") == 1


async def test_the_oldest_export_is_told_and_one_that_may_not_run_yet_does_not_wait(
    create_export: Ask, database: Database
) -> None:
    nothing = await read_export_gauges(database)
    assert nothing["oldest_waiting_seconds"] == nothing["oldest_active_seconds"] == 0
    await create_export()
    change = "UPDATE exports SET created_at = now() - interval '1 hour', due_at = now() + interval"
    async with database.engine.begin() as connection:
        await connection.execute(text(f"{change} '1 minute'"))
    gauges = await read_export_gauges(database)
    assert gauges["oldest_waiting_seconds"] == 0
    assert gauges["oldest_active_seconds"] == pytest.approx(3600, abs=60)


async def test_what_the_last_verify_found_is_shown(
    database: Database, connection: Connection
) -> None:
    assert "projection_drift_rows" not in await read_export_gauges(database)
    await connection.execute(
        "INSERT INTO projection_verifications VALUES (now() - interval '91 days', 9)"
    )
    for found in (7, 3):
        await record_verification(DatabaseConnection(connection), found)
    gauges = await read_export_gauges(database)
    assert gauges["projection_drift_rows"] == 3
    assert gauges["projection_verified_timestamp_seconds"] == pytest.approx(time.time(), abs=60)
    assert await connection.fetchval("SELECT count(*) FROM projection_verifications") == 2
