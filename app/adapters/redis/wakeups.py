"""Wake-ups: Redis publish/subscribe that lets workers react to a new job at once."""

from collections.abc import AsyncIterator

from redis.asyncio import Redis

from app.adapters.redis.pubsub import receive_messages
from app.adapters.redis.queue import WAKEUP_CHANNEL
from app.ports import Lane

PING_AFTER_S = 10.0


async def subscribe_wakeups(redis: Redis) -> AsyncIterator[Lane | None]:
    """Yield the lane of each wake-up as it arrives, and ``None`` once subscribed.

    Wake-ups from before the subscription are missed, and any may be lost:
    workers also poll.

    Raises:
        RedisError, OSError, TimeoutError: Redis is unavailable.
    """
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(WAKEUP_CHANNEL)
        async for message in receive_messages(pubsub, PING_AFTER_S):
            if message["type"] == "subscribe":
                yield None
            elif message["type"] == "message":
                yield "large" if message["data"] == b"large" else "small"
