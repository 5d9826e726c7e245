"""The doorbell, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.adapters.doorbell import rung_lanes
from app.adapters.queue import arq_redis, open_queue
from app.ports import Lane
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox
from tests.adapters.settings import settings_with


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = arq_redis(settings_with(redis_url=redis_url))
    yield redis
    await redis.aclose(close_connection_pool=True)


async def test_a_ring_is_heard_with_its_lane(redis: ArqRedis, redis_url: str) -> None:
    async with open_queue(settings_with(redis_url=redis_url)) as queue:
        heard = rung_lanes(redis)
        assert await anext(heard) is None
        lanes: tuple[Lane, ...] = ("small", "large")
        for lane in lanes:
            await queue.ring(1, uuid4(), 0, lane)
            async with asyncio.timeout(10):
                assert await anext(heard) == lane


async def test_a_lost_connection_ends_the_listening() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        redis = arq_redis(settings_with(redis_url=server.url()))
        heard = rung_lanes(redis)
        assert await anext(heard) is None
        server.kill()
        with pytest.raises((RedisError, OSError)):
            async with asyncio.timeout(10):
                await anext(heard)
        await redis.aclose(close_connection_pool=True)
