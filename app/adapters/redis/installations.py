"""Which installations use a Redis database: a sorted set, by when their workers last said so."""

import time

from redis.asyncio import Redis

KEY = "audience-export:installations"
RECENT_S = 3600.0


async def register(redis: "Redis", installation: str) -> None:
    """Note that an installation uses this database now."""
    await redis.zadd(KEY, {installation: time.time()})


async def recent(redis: "Redis") -> set[str]:
    """Return those that were registered in the last hour, and forget the others."""
    since = time.time() - RECENT_S
    if old := await redis.zrangebyscore(KEY, "-inf", f"({since}"):
        # Not ZREMRANGEBYSCORE in one step: the documented ACL does not grant it.
        await redis.zrem(KEY, *old)
    return {name.decode() for name in await redis.zrangebyscore(KEY, since, "+inf")}
