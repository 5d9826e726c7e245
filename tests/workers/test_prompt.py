"""The worker that waits to be told: at once when woken, and when a place is free again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.jobs import serialize_job
from arq.worker import func

from app.adapters.queue import JOB_NAME, QUEUE_NAME, arq_redis, deserialize, open_queue, serialize
from app.config import Settings
from app.ending import end
from tests.waiting import until
from workers.prompt import PromptWorker

NEVER_S = 3600.0


@pytest.fixture
def done() -> list[UUID]:
    """The exports whose bells were heard."""
    return []


@pytest.fixture
async def idle(settings: Settings, done: list[UUID]) -> AsyncIterator[PromptWorker]:
    """A worker with one place that does not look at its queue."""

    async def note(_: dict[Any, Any], _seller_id: int, export_id: str) -> None:
        done.append(UUID(export_id))

    worker = PromptWorker(
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
    await end(*worker.tasks.values())
    await worker.pool.aclose(close_connection_pool=True)


@pytest.fixture
async def worker(idle: PromptWorker) -> AsyncIterator[PromptWorker]:
    """One that looks at its queue when it is woken."""
    running = asyncio.create_task(idle.async_run())
    yield idle
    await end(running)


async def put(worker: PromptWorker, name: str, description: bytes | None) -> None:
    """Put a job on the queue."""
    if description is not None:
        await worker.pool.set(job_key_prefix + name, description)
    await worker.pool.zadd(worker.queue_name, {name: 1})


def job(export_id: UUID) -> bytes:
    """Describe a job as a ring does."""
    return serialize_job(JOB_NAME, (1, str(export_id)), {}, None, 1, serializer=serialize)


async def test_one_waking_is_enough_for_all_that_waits(
    worker: PromptWorker, done: list[UUID], settings: Settings
) -> None:
    bells = [uuid4() for _ in range(3)]
    async with open_queue(settings) as queue:
        for export_id in bells:
            await queue.ring(1, export_id, 0)
    worker.wake()

    async def are_done() -> bool:
        return len(done) == len(bells)

    await until(are_done)
    assert set(done) == set(bells)


async def test_a_job_that_runs_here_is_not_asked_for_again(idle: PromptWorker) -> None:
    idle.tasks["here"] = asyncio.create_task(asyncio.sleep(60))
    await put(idle, "here", None)
    await idle.start_jobs([b"here"])
    assert idle.job_counter == 0


async def test_a_job_that_another_worker_has_taken_is_left_to_it(
    idle: PromptWorker, done: list[UUID]
) -> None:
    theirs, ours = uuid4(), uuid4()
    for export_id in (theirs, ours):
        await put(idle, str(export_id), job(export_id))
    await idle.pool.set(f"{in_progress_key_prefix}{theirs}", b"1")
    await idle.start_jobs([str(theirs).encode(), str(ours).encode()])
    await asyncio.gather(*idle.tasks.values())
    assert done == [ours]
    assert await idle.pool.zrange(idle.queue_name, 0, -1) == [str(theirs).encode()]
    assert await idle.pool.exists(f"{in_progress_key_prefix}{theirs}")


async def test_no_more_jobs_are_taken_than_there_are_places_for(idle: PromptWorker) -> None:
    for name in ("first", "second"):
        await put(idle, name, job(uuid4()))
    await idle.start_jobs([b"first", b"second"])
    assert set(idle.tasks) == {"first"}
    assert await idle.pool.keys(f"{in_progress_key_prefix}second") == []


async def test_a_job_that_has_ended_since_it_was_seen_is_not_marked(idle: PromptWorker) -> None:
    await idle.start_jobs([b"over"])
    assert not idle.tasks
    assert await idle.pool.keys("*over*") == []


@pytest.mark.parametrize("description", [None, b"none", b'{"f": "run_export"}'], ids=str)
async def test_a_job_that_cannot_be_read_is_dropped(
    idle: PromptWorker, done: list[UUID], description: bytes | None
) -> None:
    await put(idle, "odd", description)
    await idle.start_jobs([b"odd"])
    await asyncio.gather(*idle.tasks.values())
    assert not done
    assert await idle.pool.zcard(idle.queue_name) == 0
    assert await idle.pool.keys("*odd*") == []


async def test_a_job_that_is_cancelled_is_left_for_others(idle: PromptWorker) -> None:
    begun = asyncio.Event()

    async def last(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    idle.functions[JOB_NAME] = func(last, name=JOB_NAME)  # type: ignore[arg-type]  # as above
    await put(idle, "again", job(uuid4()))
    await idle.start_jobs([b"again"])
    await begun.wait()
    idle.tasks["again"].cancel()
    await asyncio.gather(*idle.tasks.values())
    assert await idle.pool.keys("*again*") == [f"{job_key_prefix}again".encode()]
    assert await idle.pool.zrange(idle.queue_name, 0, -1) == [b"again"]
