"""The worker that waits to be told: at once when woken, and when a place is free again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.worker import func

from app.adapters.redis.queue import (
    JOB_NAME,
    QUEUE_NAME,
    arq_redis,
    deserialize,
    open_queue,
    serialize,
)
from app.concurrency import cancel_and_wait
from app.config import Settings
from app.ports import ExportJob
from tests.polling import until
from workers.arq_worker import WakeableWorker

NEVER_S = 3600.0


@pytest.fixture
def done() -> list[UUID]:
    """The exports whose wake-ups were heard."""
    return []


@pytest.fixture
async def idle(settings: Settings, done: list[UUID]) -> AsyncIterator[WakeableWorker]:
    """A worker with one place that does not look at its queue."""

    async def note(_: dict[Any, Any], _seller_id: int, export_id: str) -> None:
        done.append(UUID(export_id))

    worker = WakeableWorker(
        functions=[func(note, name=JOB_NAME)],  # type: ignore[arg-type]  # arq names it *args
        queue_name=QUEUE_NAME,
        redis_pool=arq_redis(settings),
        max_jobs=1,
        keep_result=0,
        poll_delay=NEVER_S,
        handle_signals=False,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
    yield worker
    await cancel_and_wait(*worker.tasks.values())
    await worker.pool.aclose(close_connection_pool=True)


@pytest.fixture
async def worker(idle: WakeableWorker) -> AsyncIterator[WakeableWorker]:
    """One that looks at its queue when it is woken."""
    running = asyncio.create_task(idle.async_run())
    yield idle
    await cancel_and_wait(running)


async def put(worker: WakeableWorker, name: str, description: bytes | None) -> None:
    """Put a job on the queue."""
    if description is not None:
        await worker.pool.set(job_key_prefix + name, description)
    await worker.pool.zadd(worker.queue_name, {name: 1})


def job(export_id: UUID) -> bytes:
    """Describe a job as a ring does."""
    return serialize_job(JOB_NAME, (1, str(export_id)), {}, None, 1, serializer=serialize)


async def test_one_waking_is_enough_for_all_that_waits(
    worker: WakeableWorker, done: list[UUID], settings: Settings
) -> None:
    queue_calls = [uuid4() for _ in range(3)]
    async with open_queue(settings) as queue:
        for export_id in queue_calls:
            await queue.enqueue(ExportJob(1, export_id, 0))
    worker.wake()

    async def are_done() -> bool:
        return len(done) == len(queue_calls)

    await until(are_done)
    assert set(done) == set(queue_calls)


async def test_a_job_is_off_the_queue_while_it_runs(idle: WakeableWorker) -> None:
    begun = asyncio.Event()

    async def last(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    idle.functions[JOB_NAME] = func(last, name=JOB_NAME)  # type: ignore[arg-type]  # as above
    await put(idle, "running", job(uuid4()))
    await idle.start_jobs([b"running"])
    await begun.wait()
    assert await idle.pool.keys("*") == []


async def test_a_job_that_another_worker_has_taken_is_left_to_it(
    idle: WakeableWorker, done: list[UUID]
) -> None:
    ours = uuid4()
    await put(idle, str(ours), job(ours))
    await idle.start_jobs([b"theirs", str(ours).encode()])
    await asyncio.gather(*idle.tasks.values())
    assert done == [ours]


@pytest.mark.parametrize(("room", "taken"), [(0, 0), (1, 1), (9, 2)])
async def test_no_more_jobs_are_taken_than_there_is_room_for(
    idle: WakeableWorker, room: int, taken: int
) -> None:
    idle.max_jobs, idle._room = 2, lambda: room - len(idle.tasks)
    for name in ("first", "second", "third"):
        await put(idle, name, job(uuid4()))
    await idle.start_jobs([b"first", b"second", b"third"])
    assert len(idle.tasks) == taken
    assert await idle.pool.zcard(idle.queue_name) == 3 - taken


ODD = {
    "expired": None,
    "no JSON": b"\x80\x04none",
    "incomplete": b'{"f": "run_export"}',
    "another function": b'{"t": 1, "f": "send_mail", "a": [], "k": {}, "et": 1}',
    "an odd function": b'{"t": 1, "f": ["run_export"], "a": [], "k": {}, "et": 1}',
}


@pytest.mark.parametrize("description", ODD.values(), ids=ODD)
async def test_a_job_that_cannot_be_read_is_dropped(
    idle: WakeableWorker, done: list[UUID], description: bytes | None
) -> None:
    await put(idle, "odd", description)
    await idle.start_jobs([b"odd"])
    assert not done
    assert not idle.tasks
    assert await idle.pool.keys("*") == []


async def test_a_job_whose_arguments_are_odd_breaks_alone(
    idle: WakeableWorker, done: list[UUID]
) -> None:
    await put(idle, "odd", b'{"t": 1, "f": "run_export", "a": [[]], "k": {}, "et": 1}')
    await put(idle, "good", job(uuid4()))
    await idle.start_jobs([b"odd"])
    await asyncio.gather(*idle.tasks.values())
    await idle.start_jobs([b"good"])
    await asyncio.gather(*idle.tasks.values())
    assert len(done) == 1
    assert idle.jobs_failed == 1


async def test_ten_thousand_foreign_entries_do_not_hide_a_job(
    worker: WakeableWorker, done: list[UUID]
) -> None:
    """Neither names that are no text, nor keys of another type, nor jobs that nobody knows."""
    foreign: dict[bytes, float] = {b"\xff%d" % n: 0 for n in range(10_000)}
    await worker.pool.zadd(worker.queue_name, foreign)
    await worker.pool.zadd(job_key_prefix + "odd", {b"no": 1.0})
    await worker.pool.zadd(worker.queue_name, {"odd": 0.5})
    ours = uuid4()
    await put(worker, str(ours), job(ours))
    worker.wake()

    async def is_done() -> bool:
        return done == [ours]

    await until(is_done, within_s=60)
    assert await worker.pool.zcard(worker.queue_name) == 0


async def test_a_job_that_is_cancelled_does_not_end_the_worker(idle: WakeableWorker) -> None:
    begun = asyncio.Event()

    async def last(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    idle.functions[JOB_NAME] = func(last, name=JOB_NAME)  # type: ignore[arg-type]  # as above
    await put(idle, "again", job(uuid4()))
    await idle.start_jobs([b"again"])
    await begun.wait()
    for task in idle.tasks.values():
        task.cancel()
    await asyncio.gather(*idle.tasks.values())
    await idle._poll_iteration()
    assert (idle.job_counter, idle.tasks) == (0, {})
