"""The sweep: takes back, rings, clears; by many at once, and past whoever froze."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import QueueUnavailable, StorageRefused, StorageUnavailable
from app.exports.exporter import Exporter
from app.exports.residue import Residue, object_key
from app.exports.sweep import LOST, Sweep
from app.models import Export
from app.ports import Lane
from tests.exports.conftest import reread
from tests.fakes import MemoryNews, MemoryQueue, MemoryStorage, fails

Ask = Callable[..., Awaitable[Export]]

EXPIRED = "UPDATE exports SET lease_expires_at = clock_timestamp() - interval '1 second'"
AWAY = QueueUnavailable("The job queue cannot be reached.")


class Bells:
    """A queue that remembers which bell was rung how."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, UUID]] = []

    async def ring(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        self.rung.append(("once", export_id))

    async def ring_again(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        self.rung.append(("again", export_id))

    async def check(self) -> None:
        pass


@pytest.fixture
async def lost(ask: Ask, exporter: Exporter, connection: Connection) -> Export:
    """A running export whose worker has not been heard of for longer than its lease."""
    export = await ask()
    running = await exporter.claim(export.seller_id, export.id)
    assert running is not None
    await connection.execute(EXPIRED)
    return running


async def test_a_lost_export_is_queued_again_and_rung_for(
    sweep: Sweep, lost: Export, queue: MemoryQueue, engine: AsyncEngine, connection: Connection
) -> None:
    await sweep.take_back()
    now = await reread(engine, lost)
    assert (now.status, now.attempt, now.failures) == ("queued", 1, 1)
    assert queue.rings == [(lost.seller_id, lost.id, 1)]
    assert await connection.fetchval("SELECT residue FROM exports") == [1]


async def test_whoever_watches_hears_that_it_was_taken_back(
    sweep: Sweep, lost: Export, news: MemoryNews
) -> None:
    async with news.listen(lost.id) as changes, asyncio.timeout(5):
        await sweep.take_back()
        await anext(changes)


async def test_a_live_lease_is_left_alone(
    sweep: Sweep, lost: Export, engine: AsyncEngine, connection: Connection
) -> None:
    await connection.execute(
        "UPDATE exports SET lease_expires_at = clock_timestamp() + interval '1 second'"
    )
    assert await sweep.take_back() == []
    assert (await reread(engine, lost)).status == "running"


async def test_many_sweeps_at_once_take_an_export_back_once(
    sweep: Sweep, lost: Export, engine: AsyncEngine
) -> None:
    taken = await asyncio.gather(*(sweep.take_back() for _ in range(8)))
    assert sum(map(len, taken)) == 1
    assert (await reread(engine, lost)).failures == 1


async def test_an_export_that_lost_its_worker_too_often_has_failed(
    sweep: Sweep, lost: Export, engine: AsyncEngine, connection: Connection, queue: MemoryQueue
) -> None:
    await connection.execute("UPDATE exports SET failures = 2")
    await sweep.take_back()
    now = await reread(engine, lost)
    assert (now.status, now.error_code, now.error_detail) == ("failed", "worker_lost", LOST)
    assert (now.email_status, queue.rings) == ("pending", [])
    assert now.finished_at is not None
    assert await connection.fetchval("SELECT email_due_at <= clock_timestamp() FROM exports")


async def test_with_redis_away_leases_are_taken_back_all_the_same(
    sweep: Sweep, lost: Export, queue: MemoryQueue, news: MemoryNews, engine: AsyncEngine
) -> None:
    queue.before, news.before = fails("ring", AWAY), fails("publish", AWAY)
    await sweep.take_back()
    assert (await reread(engine, lost)).status == "queued"


async def test_a_sweep_that_froze_holds_up_no_other(
    sweep: Sweep, ask: Ask, exporter: Exporter, connection: Connection
) -> None:
    for number in range(3):
        export = await ask(recipient_email=f"{number}@example.com")
        await exporter.claim(export.seller_id, export.id)
    await connection.execute(EXPIRED)
    async with connection.transaction():
        held = await connection.fetchval("SELECT id FROM exports LIMIT 1 FOR UPDATE")
        async with asyncio.timeout(3):
            taken = await sweep.take_back()
    assert len(taken) == 2
    assert held not in {export.id for export in taken}


async def test_what_is_queued_and_due_is_rung_for_once(
    sweep: Sweep, ask: Ask, queue: MemoryQueue, connection: Connection
) -> None:
    due = await ask()
    later = await ask(recipient_email="later@example.com")
    await connection.execute(
        "UPDATE exports SET due_at = clock_timestamp() + interval '1 minute' WHERE id = $1",
        later.id,
    )
    for _ in range(2):
        assert await sweep.ring_for_waiting() == 1
    assert queue.rings == [(due.seller_id, due.id, 0)]


async def test_a_bell_that_nobody_followed_is_rung_again(
    ask: Ask,
    engine: AsyncEngine,
    news: MemoryNews,
    residue: Residue,
    quick: Settings,
    connection: Connection,
) -> None:
    bells = Bells()
    sweep = Sweep(engine, bells, news, residue, quick)
    export = await ask()
    await sweep.ring_for_waiting()
    await connection.execute(
        "UPDATE exports SET due_at = due_at - make_interval(secs => $1)", quick.lease_s
    )
    await sweep.ring_for_waiting()
    assert bells.rung == [("once", export.id), ("again", export.id)]


async def test_with_redis_away_ringing_is_put_off(
    sweep: Sweep, ask: Ask, queue: MemoryQueue
) -> None:
    await ask()
    queue.before = fails("ring", AWAY)
    with pytest.raises(QueueUnavailable):
        await sweep.ring_for_waiting()
    assert await sweep.ring_for_waiting() == 1
    assert len(queue.rings) == 1


@pytest.fixture
async def left(
    ask: Ask, storage: MemoryStorage, quick: Settings, connection: Connection
) -> list[str]:
    """The keys of objects that two exports' attempts left behind."""
    keys = []
    for number in range(2):
        export = await ask(recipient_email=f"{number}@example.com")
        keys.append(object_key(quick, export.seller_id, export.id, 1))
        await storage.put(keys[-1], b"Email\n")
    await connection.execute("UPDATE exports SET attempt = 2, residue = '{1, 2}'")
    return keys


async def test_what_attempts_left_is_cleared(
    sweep: Sweep, left: list[str], storage: MemoryStorage
) -> None:
    assert await sweep.clear_residue() == 2
    assert storage.objects == {}
    assert await sweep.clear_residue() == 0


async def test_what_the_store_refuses_to_erase_holds_up_nothing_else(
    sweep: Sweep, left: list[str], storage: MemoryStorage
) -> None:
    storage.before = fails("delete", StorageRefused("Access is denied."))
    assert await sweep.clear_residue() == 2
    assert await sweep.clear_residue() == 1
    assert storage.objects == {}


async def test_with_the_store_away_clearing_is_put_off(
    sweep: Sweep, left: list[str], storage: MemoryStorage
) -> None:
    storage.before = fails("list_uploads", StorageUnavailable("away"))
    with pytest.raises(StorageUnavailable):
        await sweep.clear_residue()
    assert sorted(storage.objects) == sorted(left)


async def test_many_may_clear_at_once(
    sweep: Sweep, left: list[str], storage: MemoryStorage, connection: Connection
) -> None:
    await asyncio.gather(*(sweep.clear_residue() for _ in range(4)))
    assert storage.objects == {}
    assert await connection.fetchval("SELECT bool_and(residue = '{}') FROM exports")
