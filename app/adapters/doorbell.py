"""The doorbell: what tells workers at once that there is a job."""

from collections.abc import AsyncIterator

from redis.asyncio import Redis

from app.adapters.news import messages
from app.adapters.queue import DOORBELL
from app.ports import Lane

SILENCE_S = 10.0


async def rung_lanes(redis: Redis) -> AsyncIterator[Lane | None]:
    """Yield the lane of each ring as it is heard; ``None`` when listening begins.

    Rings before that were not heard, and any may be lost: queues are looked
    at now and then as well.

    Raises:
        RedisError, OSError, TimeoutError: Redis is away.
    """
    async with redis.pubsub() as subscription:
        await subscription.subscribe(DOORBELL)
        async for message in messages(subscription, SILENCE_S):
            if message["type"] == "subscribe":
                yield None
            elif message["type"] == "message":
                yield "large" if message["data"] == b"large" else "small"
