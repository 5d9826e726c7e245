"""Recovery reclaims expired leases: many workers at once, each export once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import QueueUnavailable
from app.exports.execution.exporter import Exporter
from app.exports.queue.failure_policy import WORKER_LOST_DETAIL
from app.exports.queue.recovery import QueueRecovery
from app.models import Export
from app.ports import ExportJob
from tests.exports.conftest import reload
from tests.fakes import MemoryExportEvents, MemoryQueue, fails

Ask = Callable[..., Awaitable[Export]]

EXPIRED = "UPDATE exports SET lease_expires_at = clock_timestamp() - interval '1 second'"
AWAY = QueueUnavailable("The job queue cannot be reached.")


@pytest.fixture
async def lost(create_export: Ask, exporter: Exporter, connection: Connection) -> Export:
    """A running export whose worker has not been heard of for longer than its lease."""
    export = await create_export()
    running = await exporter.claim(export.key)
    assert running is not None
    await connection.execute(EXPIRED)
    return running


async def test_a_lost_export_is_queued_again_and_enqueued_for(
    recovery: QueueRecovery,
    lost: Export,
    queue: MemoryQueue,
    database: Database,
    connection: Connection,
) -> None:
    await recovery.reclaim_expired_leases()
    now = await reload(database, lost)
    assert (now.status, now.attempt, now.failures) == ("queued", 1, 1)
    assert queue.jobs == [ExportJob(lost.seller_id, lost.id, 1)]
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1]


async def test_a_subscriber_is_notified_that_it_was_reclaimed(
    recovery: QueueRecovery, lost: Export, export_events: MemoryExportEvents
) -> None:
    async with export_events.subscribe(lost.id) as changes, asyncio.timeout(5):
        await recovery.reclaim_expired_leases()
        await anext(changes)


async def test_a_live_lease_is_left_alone(
    recovery: QueueRecovery, lost: Export, database: Database, connection: Connection
) -> None:
    await connection.execute(
        "UPDATE exports SET lease_expires_at = clock_timestamp() + interval '1 second'"
    )
    assert await recovery.reclaim_expired_leases() == []
    assert (await reload(database, lost)).status == "running"


async def test_many_recoveries_at_once_take_an_export_back_once(
    recovery: QueueRecovery, lost: Export, database: Database
) -> None:
    taken = await asyncio.gather(*(recovery.reclaim_expired_leases() for _ in range(8)))
    assert sum(map(len, taken)) == 1
    assert (await reload(database, lost)).failures == 1


async def test_an_export_that_lost_its_worker_too_often_has_failed(
    recovery: QueueRecovery,
    lost: Export,
    database: Database,
    connection: Connection,
    queue: MemoryQueue,
) -> None:
    await connection.execute("UPDATE exports SET failures = 2")
    await recovery.reclaim_expired_leases()
    now = await reload(database, lost)
    assert (now.status, now.error_code, now.error_detail) == (
        "failed",
        "worker_lost",
        WORKER_LOST_DETAIL,
    )
    assert (now.email_status, queue.jobs) == ("pending", [])
    assert now.finished_at is not None
    assert await connection.fetchval("SELECT email_due_at <= clock_timestamp() FROM exports")


async def test_an_export_whose_first_attempt_began_too_long_ago_is_not_queued_again(
    recovery: QueueRecovery,
    lost: Export,
    database: Database,
    connection: Connection,
    fast_settings: Settings,
) -> None:
    await connection.execute(
        "UPDATE exports SET first_started_at = first_started_at - make_interval(secs => $1)",
        fast_settings.last_attempt_after_s,
    )
    await recovery.reclaim_expired_leases()
    now = await reload(database, lost)
    assert (now.status, now.failures, now.error_code) == ("failed", 1, "worker_lost")


async def test_with_redis_away_leases_are_reclaimed_all_the_same(
    recovery: QueueRecovery,
    lost: Export,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    database: Database,
) -> None:
    queue.before, export_events.before = fails("enqueue", AWAY), fails("publish", AWAY)
    await recovery.reclaim_expired_leases()
    assert (await reload(database, lost)).status == "queued"


async def test_a_recovery_that_froze_holds_up_no_other(
    recovery: QueueRecovery, create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    for number in range(3):
        export = await create_export(recipient_email=f"{number}@example.com")
        await exporter.claim(export.key)
    await connection.execute(EXPIRED)
    async with connection.transaction():
        held = await connection.fetchval("SELECT id FROM exports LIMIT 1 FOR UPDATE")
        async with asyncio.timeout(3):
            taken = await recovery.reclaim_expired_leases()
    assert len(taken) == 2
    assert held not in {export.id for export in taken}
