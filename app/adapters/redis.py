"""Connections to Redis, as the queue, the news and the worker use them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from app.errors import QueueUnavailable, SettingsInvalid
from app.metrics import Facts

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
CONNECTIONS_MAX = 32

WRITES = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
"""What ``INFO persistence`` calls the ends of the last writes to disk."""


def redis_pool(url: str) -> BlockingConnectionPool:
    """Return a pool for ``url`` that connects when it is first used.

    ``redis://``, ``rediss://`` and ``unix://`` are read as redis-py reads them,
    query parameters (``ssl_ca_certs``, ``ssl_cert_reqs``, ``socket_timeout``)
    included. Unlike redis-py, the host name in the certificate is checked
    unless the URL says otherwise.

    Raises:
        SettingsInvalid: the address cannot be understood.
    """
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(url, **_defaults(url))
        # Not connected: shows arguments that no connection takes.
        pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's gap
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsInvalid("REDIS_URL is not an address of Redis.") from error
    return pool


def _defaults(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    defaults: dict[str, object] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "max_connections": CONNECTIONS_MAX,
        "timeout": ANSWER_TIMEOUT_S,
    }
    if parts.scheme == "rediss" and parse_qs(parts.query).get("ssl_cert_reqs") is None:
        defaults["ssl_check_hostname"] = True
    return defaults


class RedisState:
    """What Redis says of its memory and its disk, for Prometheus."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self) -> Facts:
        """Return its memory, and whether its last writes to disk went well.

        Raises:
            QueueUnavailable: Redis is away, or does not let us ask.
        """
        try:
            memory = await self._redis.info("memory")
            disk = await self._redis.info("persistence")
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueUnavailable("The job queue cannot be reached.") from error
        written = (disk.get(name, "ok") == "ok" for name in WRITES)
        return {
            "redis_memory_used_bytes": memory["used_memory"],
            "redis_memory_max_bytes": memory.get("maxmemory", 0),
            "redis_persistence_ok": float(all(written)),
        }


@asynccontextmanager
async def open_redis_state(url: str) -> AsyncIterator[RedisState]:
    """Yield what asks Redis about itself; it connects when first used.

    Raises:
        SettingsInvalid: the address cannot be understood.
    """
    redis = Redis(connection_pool=redis_pool(url))
    try:
        yield RedisState(redis)
    finally:
        await redis.connection_pool.aclose()
