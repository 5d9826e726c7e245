"""The worker that waits to be told: at once when woken, and when a place is free again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
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
async def worker(settings: Settings, done: list[UUID]) -> AsyncIterator[PromptWorker]:
    """A worker with one place that never looks at its queue by itself."""

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
    running = asyncio.create_task(worker.async_run())
    yield worker
    await end(running, *worker.tasks.values())
    await worker.pool.aclose(close_connection_pool=True)


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


async def test_a_job_that_runs_here_is_not_asked_for_again(
    worker: PromptWorker,
) -> None:
    worker.tasks["here"] = asyncio.create_task(asyncio.sleep(60))
    await worker.pool.zadd(worker.queue_name, {"here": 1})
    await worker.start_jobs([b"here"])
    assert worker.job_counter == 0
