"""Connections to Redis, as the queue, the news and the worker use them."""

from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool

from app.errors import SettingsInvalid

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
CONNECTIONS_MAX = 32


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
