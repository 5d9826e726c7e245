"""Every change of state is counted once, by the process that made it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.drift import record_verification
from app.config import Settings
from app.database import Connection
from app.errors import StorageRefused, StorageUnavailable
from app.exports.expiry import Expiry
from app.exports.exporter import Exporter
from app.exports.facts import read_export_facts
from app.exports.residue import Residue
from app.exports.sweep import Sweep
from app.metrics import Metrics
from app.models import Export
from tests.audience.storefront import Storefront
from tests.fakes import MemoryNews, MemoryQueue, MemoryStorage

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
def metrics() -> Metrics:
    """The counters of this test's worker."""
    return Metrics()


@pytest.fixture
def exporter(
    engine: AsyncEngine,
    storage: MemoryStorage,
    queue: MemoryQueue,
    news: MemoryNews,
    quick: Settings,
    metrics: Metrics,
) -> Exporter:
    """An exporter that counts."""
    return Exporter(engine, engine, storage, queue, news, quick, worker="tests", metrics=metrics)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Return a sample, 0 where there is none."""
    return metrics.registry.get_sample_value(f"audience_export_{name}", labels) or 0


async def run(exporter: Exporter, export: Export) -> Export:
    """Make one attempt and return its end."""
    claimed = await exporter.claim(export.seller_id, export.id)
    assert claimed is not None
    ended = await exporter.run(claimed)
    assert ended is not None
    return ended


async def test_a_success_counts_its_rows_its_bytes_and_its_times(
    ask: Ask, exporter: Exporter, metrics: Metrics, storefront: Storefront
) -> None:
    for name in ("ann", "bob"):
        await storefront.follow(f"{name}@x.co")
    ended = await run(exporter, await ask())
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
    ask: Ask,
    exporter: Exporter,
    metrics: Metrics,
    storage: MemoryStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[Exception] = [StorageRefused("no"), StorageUnavailable("later")]

    async def put(*_: Any) -> None:
        raise errors.pop()

    monkeypatch.setattr(storage, "put", put)
    export = await ask()
    assert (await run(exporter, export)).status == "queued"
    assert value(metrics, "retries_total", code="storage_unavailable") == 1
    assert (await run(exporter, export)).status == "failed"
    assert value(metrics, "exports_finished_total", status="failed", code="storage_refused") == 1
    assert value(metrics, "rows_total") == 0


async def test_a_mail_that_was_not_sent_before_its_file_expired_is_given_up(
    ask: Ask,
    exporter: Exporter,
    metrics: Metrics,
    engine: AsyncEngine,
    connection: Connection,
    storage: MemoryStorage,
    news: MemoryNews,
) -> None:
    await run(exporter, await ask())
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    await Expiry(engine, storage, news, metrics).expire_files()
    assert value(metrics, "mails_total", kind="ready", outcome="given_up") == 1
    assert value(metrics, "exports_finished_total", status="succeeded", code="") == 1


async def test_a_lease_that_is_taken_back_is_counted_until_it_was_once_too_often(
    ask: Ask,
    exporter: Exporter,
    metrics: Metrics,
    engine: AsyncEngine,
    queue: MemoryQueue,
    news: MemoryNews,
    residue: Residue,
    quick: Settings,
) -> None:
    sweep = Sweep(engine, queue, news, residue, quick, metrics)
    export = await ask()
    for _ in range(quick.max_failures):
        assert await exporter.claim(export.seller_id, export.id)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE exports SET lease_expires_at = '2000-01-01'"))
        await sweep.take_back()
    assert value(metrics, "leases_lost_total") == quick.max_failures
    assert value(metrics, "retries_total", code="worker_lost") == quick.max_failures - 1
    assert value(metrics, "exports_finished_total", status="failed", code="worker_lost") == 1


async def test_the_oldest_export_is_told_and_one_that_may_not_run_yet_does_not_wait(
    ask: Ask, engine: AsyncEngine
) -> None:
    nothing = await read_export_facts(engine)
    assert nothing["oldest_waiting_seconds"] == nothing["oldest_active_seconds"] == 0
    await ask()
    change = "UPDATE exports SET created_at = now() - interval '1 hour', due_at = now() + interval"
    async with engine.begin() as connection:
        await connection.execute(text(f"{change} '1 minute'"))
    facts = await read_export_facts(engine)
    assert facts["oldest_waiting_seconds"] == 0
    assert facts["oldest_active_seconds"] == pytest.approx(3600, abs=60)


async def test_what_the_last_verify_found_is_told(
    engine: AsyncEngine, connection: Connection
) -> None:
    assert "projection_drift_rows" not in await read_export_facts(engine)
    await connection.execute(
        "INSERT INTO projection_verifications VALUES (now() - interval '91 days', 9)"
    )
    for found in (7, 3):
        await record_verification(connection, found)
    facts = await read_export_facts(engine)
    assert facts["projection_drift_rows"] == 3
    assert facts["projection_verified_timestamp_seconds"] == pytest.approx(time.time(), abs=60)
    assert await connection.fetchval("SELECT count(*) FROM projection_verifications") == 2
