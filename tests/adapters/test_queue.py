"""The bell, on a real Redis and on one that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import pytest
from arq.constants import in_progress_key_prefix

from app.adapters.queue import (
    AGAIN_S,
    JOB_NAME,
    QUEUE_NAME,
    arq_redis,
    deserialize,
    job_id,
    open_queue,
    serialize,
)
from app.adapters.redis import CONNECTIONS_MAX
from app.errors import QueueUnavailable, SettingsInvalid
from app.ports import ExportQueue
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox, free_port
from tests.adapters.settings import settings_with
from tests.fakes import MemoryQueue
from tests.proxy import CutAnswer, Delay, Hang, Proxy, open_proxy

EXPORT = UUID("0192f000-0000-7000-8000-000000000001")


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[ExportQueue]:
    async with open_queue(settings_with(redis_url=redis_url)) as queue:
        yield queue


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with open_proxy("127.0.0.1", parts.port) as proxy:
        yield proxy


@pytest.fixture
async def proxied(redis_url: str, proxy: Proxy) -> AsyncIterator[ExportQueue]:
    async with open_queue(settings_with(redis_url=through(proxy, redis_url))) as queue:
        yield queue


def through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    netloc = f":{parts.password}@127.0.0.1:{proxy.port}"
    return urlunsplit(parts._replace(netloc=netloc))


async def jobs(redis_url: str) -> list[tuple[str | None, str, tuple[object, ...]]]:
    """Return id, function and arguments of what waits, as a worker would read it."""
    redis = arq_redis(settings_with(redis_url=redis_url))
    try:
        found = await redis.queued_jobs()
        return [(job.job_id, job.function, tuple(job.args)) for job in found]
    finally:
        await redis.connection_pool.aclose()


async def take(redis_url: str, known_as: str) -> None:
    """Mark a job as arq does when a worker takes it."""
    redis = arq_redis(settings_with(redis_url=redis_url))
    await redis.set(in_progress_key_prefix + known_as, b"1")
    await redis.connection_pool.aclose()


async def test_a_ring_is_a_job_with_the_seller_and_the_export(
    queue: ExportQueue, redis_url: str
) -> None:
    await queue.ring(7, EXPORT, 2)

    assert await jobs(redis_url) == [(f"{EXPORT}:2", JOB_NAME, (7, str(EXPORT)))]


async def test_the_same_attempt_rings_once(queue: ExportQueue, redis_url: str) -> None:
    for attempt in (0, 0, 1):
        await queue.ring(7, EXPORT, attempt)

    assert {known_as for known_as, _, _ in await jobs(redis_url)} == {f"{EXPORT}:0", f"{EXPORT}:1"}


async def test_many_rings_at_once_share_few_connections(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    await asyncio.gather(*(proxied.ring(7, uuid4(), 0) for _ in range(200)))

    assert len(await jobs(redis_url)) == 200
    assert proxy.opened <= CONNECTIONS_MAX


async def test_ringing_again_leaves_a_bell_alone_that_waits(
    queue: ExportQueue, redis_url: str
) -> None:
    await queue.ring(7, EXPORT, 0)

    await queue.ring_again(7, EXPORT, 0)

    assert len(await jobs(redis_url)) == 1


async def test_ringing_again_passes_a_worker_that_took_the_bell(
    queue: ExportQueue, redis_url: str
) -> None:
    await queue.ring(7, EXPORT, 0)
    await take(redis_url, job_id(EXPORT, 0))

    await queue.ring_again(7, EXPORT, 0)

    (_, *first), (_, *second) = await jobs(redis_url)
    assert first == second == [JOB_NAME, (7, str(EXPORT))]


async def test_ringing_again_and_again_adds_a_bell_a_minute_at_most(
    queue: ExportQueue, redis_url: str
) -> None:
    began = time.time() // AGAIN_S
    for _ in range(20):
        await queue.ring_again(7, EXPORT, 0)

    minutes = time.time() // AGAIN_S - began + 1
    assert 1 <= len(await jobs(redis_url)) <= minutes


async def test_ringing_again_rings_where_the_first_bell_was_lost(
    queue: ExportQueue, redis_url: str
) -> None:
    await queue.ring_again(7, EXPORT, 0)

    assert len(await jobs(redis_url)) == 1


async def test_a_queue_that_answers_passes_the_check(queue: ExportQueue) -> None:
    await queue.check()


async def test_the_queue_opens_while_redis_is_down_and_says_so_at_once() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with open_queue(settings_with(redis_url=url)) as queue:
        before = time.monotonic()
        for call in (queue.check(), queue.ring(7, EXPORT, 0), queue.ring_again(7, EXPORT, 0)):
            with pytest.raises(QueueUnavailable) as raised:
                await call
            assert "127.0.0.1" not in str(raised.value)
        assert time.monotonic() - before < 3


async def test_a_redis_that_hangs_delays_nobody_for_long(
    proxied: ExportQueue, proxy: Proxy
) -> None:
    proxy.fault(Hang(), times=None)
    before = time.monotonic()

    calls = [proxied.ring(7, uuid4(), 0) for _ in range(100)]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(answer) for answer in answers} == {QueueUnavailable}
    assert time.monotonic() - before < 10


async def test_a_slow_redis_is_waited_for(proxied: ExportQueue, proxy: Proxy) -> None:
    proxy.fault(Delay(0.5), on=b"EXISTS")

    await proxied.ring(7, EXPORT, 0)


async def test_a_connection_lost_in_the_middle_is_not_taken_for_known(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    """arq answers "known already" when the transaction's connection breaks."""
    await proxied.check()
    proxy.fault(Hang(), on=b"MULTI")

    with pytest.raises(QueueUnavailable):
        await proxied.ring(7, EXPORT, 0)

    assert await jobs(redis_url) == []


async def test_an_answer_lost_after_the_ring_is_no_harm(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    await proxied.check()
    proxy.fault(CutAnswer(), on=b"MULTI")

    await proxied.ring(7, EXPORT, 0)

    assert len(await jobs(redis_url)) == 1


async def test_the_queue_goes_on_when_redis_was_killed_and_is_back() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        async with open_queue(settings_with(redis_url=server.url())) as queue:
            await queue.ring(7, EXPORT, 0)
            server.kill()
            with pytest.raises(QueueUnavailable):
                await queue.ring(7, EXPORT, 1)
            server.start()

            await queue.ring(7, EXPORT, 1)

        assert len(await jobs(server.url())) == 2


async def test_a_wrong_password_makes_the_queue_unavailable(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    url = urlunsplit(parts._replace(netloc=f":wrong@{parts.hostname}:{parts.port}"))
    async with open_queue(settings_with(redis_url=url)) as queue:
        with pytest.raises(QueueUnavailable) as raised:
            await queue.check()

    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1", "127.0.0.1:6379", "redis://h:port", "redis://h?db=x", "redis://h?x=1"],
)
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="REDIS_URL") as raised:
        arq_redis(settings_with(redis_url=url))
    assert url not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "checks"),
    [("", True), ("?ssl_cert_reqs=none", False), ("?ssl_check_hostname=no", False)],
)
def test_over_tls_the_servers_name_is_checked_unless_told_otherwise(
    query: str, checks: bool
) -> None:
    redis = arq_redis(settings_with(redis_url=f"rediss://:p@h:1/3{query}"))

    make = redis.connection_pool.make_connection
    connection = make()  # type: ignore[no-untyped-call]  # redis-py's gap

    assert bool(connection.ssl_context.check_hostname) is checks
    assert (connection.db, connection.password) == (3, "p")


def test_jobs_are_json_and_other_bytes_are_none_of_ours() -> None:
    job = {"f": JOB_NAME, "a": [7, str(EXPORT)], "k": {}, "et": 1}

    assert deserialize(serialize(job)) == job
    assert serialize({"r": ValueError("x")}) == b'{"r": "ValueError(\'x\')"}'
    for data in (b"\x80\x04", b"[]"):
        with pytest.raises(ValueError, match=r"JSON|codec"):
            deserialize(data)


def test_the_queue_has_a_name_of_its_own() -> None:
    assert QUEUE_NAME != "arq:queue"


async def test_the_one_in_memory_rings_alike() -> None:
    memory = MemoryQueue()
    queue: ExportQueue = memory
    await queue.check()
    for attempt in (0, 0, 1):
        await queue.ring(7, EXPORT, attempt)
    await queue.ring_again(7, EXPORT, 1)

    assert memory.rings == [(7, EXPORT, 0), (7, EXPORT, 1)]
