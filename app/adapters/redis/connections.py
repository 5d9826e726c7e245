"""Redis connections: pools, error translation and a circuit breaker."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from app.adapters.dialing import dial
from app.errors import QueueUnavailable, SettingsInvalid
from app.observability.metrics import MetricValues
from app.tls_errors import causes, connection_failure

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
CONNECTIONS_MAX = 32

CALL_TIMEOUT_S = 1.0
"""Limit of one call: getting a connection, connecting, and the replies."""

OPEN_S = 5.0
"""How long the circuit breaker stays open after a timeout."""

PERSISTENCE_FIELDS = (
    "rdb_last_bgsave_status",
    "aof_last_write_status",
    "aof_last_bgrewrite_status",
)
"""The fields of ``INFO persistence`` with the results of the last writes to disk."""

WORDS_MAX = 300

CODES: dict[type[RedisError], str] = {
    OutOfMemoryError: "OOM",
    NoPermissionError: "NOPERM",
    ReadOnlyError: "READONLY",
    BusyLoadingError: "LOADING",
    AuthenticationError: "WRONGPASS",
}
"""What redis-py takes off the words of these errors."""

CLUSTER = "it runs in cluster mode, which is not supported: use one primary, with replicas"

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel", "redis-sentinel", "sentinel")


class ClosedAtOnce(AbstractConnection):
    """A connection that is closed in one step.

    redis-py waits between closing a connection and forgetting it. Another task that takes it from
    the pool meanwhile, after a failover for example, fails with an AttributeError.
    """

    async def disconnect(self, nowait: bool = False) -> None:
        """Close the connection without waiting for its end."""
        await super().disconnect(nowait=True)


class ClosedAtOnceUnix(ClosedAtOnce, UnixDomainSocketConnection):
    """The same over a Unix socket, which has no host name to dial."""


class Dialed(ClosedAtOnce, Connection):
    """A connection to the first of the host's addresses that answers; see :func:`dial`."""

    _socket: socket.socket

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self._socket = await dial(self.host, self.port)
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's gap

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = dict(super()._connection_arguments())
        host = arguments.pop("host")
        del arguments["port"]
        # asyncio needs the name to verify beside a socket with TLS, and refuses it without TLS.
        tls = {"server_hostname": host} if "ssl" in arguments else {}
        return {**arguments, **tls, "sock": self._socket}


class DialedTls(Dialed, SSLConnection):
    """The same over TLS."""


DIALED: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: Dialed,
    SSLConnection: DialedTls,
    UnixDomainSocketConnection: ClosedAtOnceUnix,
}


def redis_pool(url: str, timeout_s: float | None = None) -> BlockingConnectionPool:
    """Return a pool for ``url``; it connects on first use.

    ``timeout_s`` replaces the usual limits of connecting and of an answer.

    ``redis://``, ``rediss://`` and ``unix://`` URLs are parsed by redis-py,
    including query parameters (``ssl_ca_certs``, ``ssl_cert_reqs``,
    ``socket_timeout``). Unlike redis-py, the certificate's host name is checked
    unless the URL says otherwise.

    Raises:
        SettingsInvalid: the URL is not a valid Redis URL.
    """
    if urlsplit(url).scheme in SENTINEL_SCHEMES:
        raise SettingsInvalid(
            "REDIS_URL cannot name Sentinels: let a TCP proxy (HAProxy, say) lead to the primary."
        )
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url, **_defaults(url, timeout_s)
        )
        pool.connection_class = DIALED[pool.connection_class]
        # Does not connect, but raises TypeError for unknown query parameters now, not at first use.
        pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's gap
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsInvalid(
            "REDIS_URL is not a valid Redis URL: use redis://host:6379, rediss:// or unix://."
        ) from error
    return pool


def _defaults(url: str, timeout_s: float | None) -> dict[str, object]:
    parts = urlsplit(url)
    defaults: dict[str, object] = {
        "socket_connect_timeout": timeout_s or CONNECT_TIMEOUT_S,
        "socket_timeout": timeout_s or ANSWER_TIMEOUT_S,
        "max_connections": CONNECTIONS_MAX,
        "timeout": ANSWER_TIMEOUT_S,
        "lib_name": None,  # no CLIENT SETINFO: the documented ACL does not grant it
        "lib_version": None,
    }
    is_checked = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])[-1] != "none"
    if parts.scheme == "rediss" and is_checked:
        defaults["ssl_check_hostname"] = True
    return defaults


@contextmanager
def redis_errors() -> Iterator[None]:
    """Translate redis-py's errors.

    Raises:
        QueueUnavailable: Redis is unavailable, out of memory, or refuses the command.
    """
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailable(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """Return what broke, in the server's own words where it answered; without any address."""
    for each in causes(error):
        if isinstance(each, AuthenticationError | ResponseError):
            code = next((code for kind, code in CODES.items() if isinstance(each, kind)), "")
            words = " ".join(f"{code} {each}".split())[:WORDS_MAX]
            return f"Redis refuses: {words}"
    if failed := connection_failure(error):
        return f"The job queue cannot be reached: {failed}."
    return "The job queue cannot be reached."


async def require_single_server(redis: Redis) -> None:
    """Refuse a Redis in cluster mode, where a job's keys lie on several servers.

    A server that does not say is taken as it is.

    Raises:
        ResponseError: it is a cluster.
        RedisError, OSError, TimeoutError: Redis is unavailable.
    """
    try:
        info = await redis.info("cluster")
    except ResponseError:
        return
    # Outside the try, which would swallow this error.
    if info.get("cluster_enabled"):
        raise ResponseError(CLUSTER)


class CircuitBreaker:
    """Limits each Redis call to ``timeout_s``; after a timeout, fails calls at once for ``open_s``.

    Without it, every request would wait for a Redis server that hangs.
    """

    def __init__(
        self, pool: ConnectionPool, timeout_s: float = CALL_TIMEOUT_S, open_s: float = OPEN_S
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._open_s = open_s
        self._open_until = 0.0

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Limit a whole call: waiting for a connection, connecting and the replies.

        Raises:
            QueueUnavailable: Redis is unavailable, refuses the command, or the breaker is open.
        """
        if time.monotonic() < self._open_until:
            raise QueueUnavailable("The job queue timed out moments ago; try again soon.")
        with redis_errors():
            try:
                async with asyncio.timeout(self._timeout_s):
                    yield
            # Not after a refused connection, which delays nobody: a restart is noticed at once.
            except (RedisTimeout, TimeoutError):
                self._open_until = time.monotonic() + self._open_s
                raise
            except RedisError as error:
                if cannot_write(error):
                    # After a failover the host name leads to the new primary, but pooled
                    # connections still lead to the old one.
                    # Only the idle ones: on the others, tasks may be waiting for replies.
                    await self._pool.disconnect(inuse_connections=False)
                raise


def cannot_write(error: RedisError) -> bool:
    """Return whether the error shows a replica, or a server that is still loading its data."""
    return isinstance(error, (ReadOnlyError, BusyLoadingError)) or str(error).startswith(
        ("MASTERDOWN", "LOADING")
    )


class RedisInfo:
    """Reads Redis' memory use and persistence status for Prometheus."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self) -> MetricValues:
        """Return the values of the ``redis_*`` metrics, from ``INFO``.

        Raises:
            QueueUnavailable: Redis is unavailable, or its ACL denies ``INFO``.
        """
        with redis_errors():
            memory = await self._redis.info("memory")
            disk = await self._redis.info("persistence")
        written = (disk.get(field, "ok") == "ok" for field in PERSISTENCE_FIELDS)
        return {
            "redis_memory_used_bytes": memory.get("used_memory", 0),
            "redis_memory_max_bytes": memory.get("maxmemory", 0),
            "redis_persistence_ok": float(all(written)),
        }


@asynccontextmanager
async def open_redis_info(url: str) -> AsyncIterator[RedisInfo]:
    """Yield the reader of Redis' metrics; it connects on first use.

    Raises:
        SettingsInvalid: ``url`` is not a valid Redis URL.
    """
    redis = Redis(connection_pool=redis_pool(url))
    try:
        yield RedisInfo(redis)
    finally:
        await redis.connection_pool.aclose()
