"""The wake-up channel, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.adapters.redis.queue import arq_redis, open_queue
from app.adapters.redis.wakeups import subscribe_wakeups
from app.ports import ExportJob, Lane
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox
from tests.adapters.settings import settings_with


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = arq_redis(settings_with(redis_url=redis_url))
    yield redis
    await redis.aclose(close_connection_pool=True)


async def test_an_enqueued_job_wakes_workers_up_with_its_lane(
    redis: ArqRedis, redis_url: str
) -> None:
    async with open_queue(settings_with(redis_url=redis_url)) as queue:
        wakeups = subscribe_wakeups(redis)
        assert await anext(wakeups) is None
        lanes: tuple[Lane, ...] = ("small", "large")
        for lane in lanes:
            await queue.enqueue(ExportJob(1, uuid4(), 0, lane))
            async with asyncio.timeout(10):
                assert await anext(wakeups) == lane


async def test_a_job_that_waits_already_wakes_nobody_up(redis: ArqRedis, redis_url: str) -> None:
    async with open_queue(settings_with(redis_url=redis_url)) as queue:
        wakeups = subscribe_wakeups(redis)
        assert await anext(wakeups) is None
        job = ExportJob(1, uuid4(), 0, "small")
        for each in (job, job, ExportJob(1, uuid4(), 0, "large")):
            await queue.enqueue(each)
        async with asyncio.timeout(10):
            assert [await anext(wakeups), await anext(wakeups)] == ["small", "large"]


async def test_a_lost_connection_ends_the_listening() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        redis = arq_redis(settings_with(redis_url=server.url()))
        wakeups = subscribe_wakeups(redis)
        assert await anext(wakeups) is None
        server.kill()
        with pytest.raises((RedisError, OSError)):
            async with asyncio.timeout(10):
                await anext(wakeups)
        await redis.aclose(close_connection_pool=True)
