"""Redis in cluster mode, which is refused in words, and other refusals in the server's own."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis as client_library
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from app.adapters.redis.connections import redis_errors, redis_pool
from app.adapters.redis.queue import open_queue
from app.concurrency import cancel_and_wait
from app.doctor import redis as redis_check
from app.errors import QueueUnavailable, SettingsInvalid
from devstack.certificates import issue
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox, free_port
from tests.adapters.settings import settings_with
from tests.polling import until
from workers.queue_consumer import QueueConsumer


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Iterator[str]:
    """The address of a cluster of one server that has all slots."""
    # Without a port for its bus, a server of a cluster takes its own plus 10,000,
    # which may be in use.
    options = f"cluster-enabled yes\ncluster-port {free_port()}\n"
    server = RedisServer(sandbox, name="cluster", options=options)
    server.start()
    with client_library.Redis.from_url(server.url()) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    yield server.url()
    server.stop()


async def test_a_cluster_is_refused_in_words(cluster: str) -> None:
    settings = settings_with(redis_url=cluster)
    async with open_queue(settings) as queue:
        with pytest.raises(QueueUnavailable, match="cluster mode, which is not supported"):
            await queue.check()
    (finding,) = await redis_check.check(settings)
    assert finding.status.value == "failure"
    assert "cluster mode" in finding.detail


async def test_the_worker_says_so_too(cluster: str) -> None:
    executor: Any = SimpleNamespace(room=lambda lane: 1)
    with capture_logs() as lines:
        consumer = QueueConsumer(settings_with(redis_url=cluster), executor)
        consuming = asyncio.create_task(consumer.consume())

        async def is_logged() -> bool:
            return any("cluster mode" in str(line.get("reason")) for line in lines)

        await until(is_logged)
        await cancel_and_wait(consuming)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OutOfMemoryError("command not allowed"), "Redis refuses: OOM command not allowed"),
        (NoPermissionError("No permissions"), "Redis refuses: NOPERM No permissions"),
        (ResponseError("CROSSSLOT Keys in request"), "Redis refuses: CROSSSLOT Keys in request"),
        (AuthenticationError("invalid"), "Redis refuses: WRONGPASS invalid"),
        (RedisConnectionError("Error 111 connecting to 10.0.0.9:1."), "The job queue cannot be"),
    ],
)
def test_a_refusal_is_quoted_and_an_address_is_not(error: RedisError, words: str) -> None:
    with pytest.raises(QueueUnavailable) as raised, redis_errors():
        raise error
    assert str(raised.value).startswith(words)
    assert "10.0.0.9" not in str(raised.value)


async def test_a_certificate_that_nobody_trusts_is_named(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issue(tmp_path).server)
    listener = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    port = listener.sockets[0].getsockname()[1]
    async with open_queue(settings_with(redis_url=f"rediss://localhost:{port}")) as queue:
        with pytest.raises(QueueUnavailable, match="certificate verify failed"):
            await queue.check()
    listener.close()


def test_sentinels_are_refused_in_words() -> None:
    with pytest.raises(SettingsInvalid, match="TCP proxy"):
        redis_pool("redis+sentinel://s1:26379,s2:26379/primary/0")
