"""Redis connections: what a pool hands out is open."""

import asyncio

import pytest
from redis.asyncio import Redis

from app.adapters.redis.connections import redis_pool


@pytest.mark.parametrize("ticks", range(6))
async def test_no_command_takes_a_connection_that_is_being_closed(
    redis_url: str, ticks: int
) -> None:
    redis = Redis(connection_pool=redis_pool(redis_url))
    await redis.ping()
    closing = asyncio.create_task(redis.connection_pool.disconnect(inuse_connections=False))
    for _ in range(ticks):
        await asyncio.sleep(0)
    assert await redis.ping()
    await closing
    await redis.connection_pool.aclose()
