"""The wake-up, on a real Redis and on one that goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import pytest
import redis
from structlog.testing import capture_logs

from app.adapters.redis.connections import CONNECTIONS_MAX, CircuitBreaker
from app.adapters.redis.queue import (
    JOB_NAME,
    QUEUE_NAME,
    arq_redis,
    deserialize,
    open_queue,
    serialize,
)
from app.errors import QueueUnavailable, SettingsInvalid
from app.ports import ExportJob, ExportQueue
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox, free_port
from tests.adapters.settings import settings_with
from tests.fakes import MemoryQueue
from tests.polling import HANGS_S, until
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


async def test_an_enqueued_job_is_a_job_with_the_seller_and_the_export(
    queue: ExportQueue, redis_url: str
) -> None:
    await queue.enqueue(ExportJob(7, EXPORT, 2))

    assert await jobs(redis_url) == [(f"{EXPORT}:2", JOB_NAME, (7, str(EXPORT)))]


async def test_the_same_attempt_enqueues_once(queue: ExportQueue, redis_url: str) -> None:
    for attempt in (0, 0, 1):
        await queue.enqueue(ExportJob(7, EXPORT, attempt))

    assert {job_id for job_id, _, _ in await jobs(redis_url)} == {f"{EXPORT}:0", f"{EXPORT}:1"}


async def test_many_enqueues_at_once_share_few_connections(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    await asyncio.gather(*(proxied.enqueue(ExportJob(7, uuid4(), 0)) for _ in range(200)))

    assert len(await jobs(redis_url)) == 200
    assert proxy.accepted <= CONNECTIONS_MAX


async def test_a_queue_that_answers_passes_the_check(queue: ExportQueue) -> None:
    await queue.check()


async def test_the_queue_opens_while_redis_is_down_and_says_so_at_once() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with open_queue(settings_with(redis_url=url)) as queue:
        for call in (queue.check(), queue.enqueue(ExportJob(7, EXPORT, 0))):
            async with asyncio.timeout(HANGS_S):
                with pytest.raises(QueueUnavailable) as raised:
                    await call
            assert "127.0.0.1" not in str(raised.value)


async def test_a_redis_that_hangs_delays_nobody_for_long(
    proxied: ExportQueue, proxy: Proxy
) -> None:
    proxy.fault(Hang(), times=None)

    calls = [proxied.enqueue(ExportJob(7, uuid4(), 0)) for _ in range(100)]
    async with asyncio.timeout(HANGS_S):
        answers = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(answer) for answer in answers} == {QueueUnavailable}


async def test_a_slow_redis_is_waited_for(proxied: ExportQueue, proxy: Proxy) -> None:
    proxy.fault(Delay(0.5), on=b"ZADD")

    await proxied.enqueue(ExportJob(7, EXPORT, 0))


async def test_a_connection_lost_in_the_middle_is_not_taken_for_known(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    """arq answers "known already" when the transaction's connection breaks."""
    await proxied.check()
    proxy.fault(Hang(), on=b"ZADD")

    with pytest.raises(QueueUnavailable):
        await proxied.enqueue(ExportJob(7, EXPORT, 0))

    assert await jobs(redis_url) == []


async def test_an_answer_lost_after_the_enqueue_is_no_harm(
    proxied: ExportQueue, proxy: Proxy, redis_url: str
) -> None:
    await proxied.check()
    proxy.fault(CutAnswer(), on=b"PUBLISH")

    await proxied.enqueue(ExportJob(7, EXPORT, 0))

    assert len(await jobs(redis_url)) == 1


async def test_the_queue_goes_on_when_redis_was_killed_and_is_back() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        async with open_queue(settings_with(redis_url=server.url())) as queue:
            await queue.enqueue(ExportJob(7, EXPORT, 0))
            server.kill()
            with pytest.raises(QueueUnavailable):
                await queue.enqueue(ExportJob(7, EXPORT, 1))
            server.start()

            await queue.enqueue(ExportJob(7, EXPORT, 1))

        assert len(await jobs(server.url())) == 2


async def test_while_redis_hangs_only_the_first_request_waits(
    proxied: ExportQueue, proxy: Proxy
) -> None:
    proxy.fault(Hang(), times=None)
    with pytest.raises(QueueUnavailable):
        await proxied.enqueue(ExportJob(7, EXPORT, 0))
    sent = len(proxy.seen)
    for _ in range(20):
        with pytest.raises(QueueUnavailable, match="moments ago"):
            await proxied.enqueue(ExportJob(7, EXPORT, 0))
    assert len(proxy.seen) == sent


async def test_a_redis_that_hung_is_tried_again(
    proxy: Proxy, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CircuitBreaker.__init__, "__defaults__", (0.2, 0.1))
    async with open_queue(settings_with(redis_url=through(proxy, redis_url))) as queue:
        proxy.fault(Hang(), times=None)
        with pytest.raises(QueueUnavailable):
            await queue.enqueue(ExportJob(7, EXPORT, 0))
        proxy.heal()
        proxy.drop()

        async def is_enqueued() -> bool:
            with contextlib.suppress(QueueUnavailable):
                await queue.enqueue(ExportJob(7, EXPORT, 0))
                return True
            return False

        await until(is_enqueued)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        yield server


def administer(server: RedisServer, *command: str) -> None:
    """Run a command as the server's administrator."""
    with redis.Redis.from_url(server.url()) as client:
        client.execute_command(*command)


@pytest.mark.parametrize("serve_stale_data", ["yes", "no"], ids=["READONLY", "MASTERDOWN"])
async def test_connections_to_a_demoted_server_are_not_kept(
    own: RedisServer, redis_server: RedisServer, serve_stale_data: str
) -> None:
    """Two servers behind one address: new connections lead to the one that took over."""
    administer(own, "CONFIG", "SET", "requirepass", redis_server.password)
    own.password = redis_server.password
    async with open_proxy("127.0.0.1", own.port) as proxy:
        url = through(proxy, redis_server.empty(0))
        async with open_queue(settings_with(redis_url=url)) as queue:
            await asyncio.gather(*(queue.enqueue(ExportJob(7, uuid4(), 0)) for _ in range(8)))
            administer(own, "CONFIG", "SET", "replica-serve-stale-data", serve_stale_data)
            administer(own, "REPLICAOF", "127.0.0.1", "9")
            proxy.lead_to("127.0.0.1", redis_server.port)
            with pytest.raises(QueueUnavailable):
                await queue.check()
            await asyncio.gather(*(queue.enqueue(ExportJob(7, uuid4(), 0)) for _ in range(8)))
        assert len(await jobs(redis_server.url())) == 8


async def test_a_full_redis_and_a_replica_do_not_pass_the_check(own: RedisServer) -> None:
    async with open_queue(settings_with(redis_url=own.url())) as queue:
        await queue.check()
        with redis.Redis.from_url(own.url()) as client:
            assert client.keys() == []
        administer(own, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(QueueUnavailable):
            await queue.check()
        administer(own, "CONFIG", "SET", "maxmemory", "0")
        await queue.check()
        administer(own, "REPLICAOF", "127.0.0.1", "9")
        with pytest.raises(QueueUnavailable):
            await queue.check()


async def test_without_channels_jobs_are_enqueued_and_it_is_logged_once(own: RedisServer) -> None:
    rights = ("on", ">x", "~*", "+@all", "resetchannels")
    administer(own, "ACL", "SETUSER", "mute", *rights)
    url = own.url().replace(f":{own.password}", "mute:x")
    async with open_queue(settings_with(redis_url=url)) as queue:
        with capture_logs() as logs:
            for attempt in range(3):
                await queue.enqueue(ExportJob(7, EXPORT, attempt))
        await queue.check()
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("wake-ups refused", "warning")
    ]
    assert len(await jobs(own.url())) == 3


async def test_without_the_right_to_write_the_queue_is_unavailable(own: RedisServer) -> None:
    administer(own, "ACL", "SETUSER", "reader", "on", ">x", "~*", "&*", "+@all", "-zadd")
    url = own.url().replace(f":{own.password}", "reader:x")
    async with open_queue(settings_with(redis_url=url)) as queue:
        for call in (queue.check(), queue.enqueue(ExportJob(7, EXPORT, 0))):
            with pytest.raises(QueueUnavailable):
                await call


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
    [
        ("", True),
        ("?ssl_cert_reqs=required", True),
        ("?ssl_cert_reqs=optional", True),
        ("?ssl_cert_reqs=none", False),
        ("?ssl_check_hostname=no", False),
        ("?ssl_cert_reqs=required&ssl_check_hostname=no", False),
    ],
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


async def test_the_one_in_memory_enqueues_alike() -> None:
    memory = MemoryQueue()
    queue: ExportQueue = memory
    await queue.check()
    for attempt in (0, 0, 1):
        await queue.enqueue(ExportJob(7, EXPORT, attempt))

    assert memory.jobs == [ExportJob(7, EXPORT, 0), ExportJob(7, EXPORT, 1)]
