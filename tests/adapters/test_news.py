"""News of exports, on a real Redis and on one that goes away; the one in memory alike."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from redis.asyncio import Redis

from app.adapters.news import CHANNEL, RedisNews, open_news
from app.adapters.redis import redis_pool
from app.errors import QueueUnavailable
from app.ports import ExportNews
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox, free_port
from tests.adapters.settings import settings_with
from tests.fakes import MemoryNews
from tests.proxy import Hang, open_proxy
from tests.waiting import until

EXPORT, OTHER = uuid4(), uuid4()
WITHIN_S = 10.0
QUIET_S = 0.3


async def hears(listener: AsyncIterator[None], within_s: float = WITHIN_S) -> bool:
    """Return whether there is news within a time."""
    try:
        async with asyncio.timeout(within_s):
            await anext(listener)
    except TimeoutError:
        return False
    return True


async def settled(listener: AsyncIterator[None]) -> None:
    """Wait until the subscription has begun, which wakes everybody, and all is quiet."""
    while await hears(listener, QUIET_S):
        pass


@pytest.fixture(params=["redis", "memory"])
async def news(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[ExportNews]:
    if request.param == "memory":
        yield MemoryNews()
        return
    async with open_news(settings_with(redis_url=redis_url)) as news:
        async with news.listen(OTHER) as listener:
            assert await hears(listener)
        yield news


async def test_a_listener_hears_of_its_export(news: ExportNews) -> None:
    async with news.listen(EXPORT) as listener:
        await news.publish(EXPORT)

        assert await hears(listener)


async def test_a_listener_hears_of_no_other_export(news: ExportNews) -> None:
    async with news.listen(EXPORT) as listener:
        await news.publish(OTHER)

        assert not await hears(listener, QUIET_S)


async def test_all_listeners_of_an_export_hear(news: ExportNews) -> None:
    async with news.listen(EXPORT) as one, news.listen(EXPORT) as two:
        await news.publish(EXPORT)

        assert [await hears(one), await hears(two)] == [True, True]


async def test_a_slow_listener_hears_of_many_changes_once(news: ExportNews) -> None:
    async with news.listen(EXPORT) as slow, news.listen(EXPORT) as quick:
        for _ in range(5):
            await news.publish(EXPORT)
            assert await hears(quick)

        assert await hears(slow)
        assert not await hears(slow, QUIET_S)


async def test_a_listener_that_stopped_waiting_hears_later(news: ExportNews) -> None:
    async with news.listen(EXPORT) as listener:
        assert not await hears(listener, 0.01)
        await news.publish(EXPORT)

        assert await hears(listener)


async def test_one_listener_leaving_takes_nothing_from_another(news: ExportNews) -> None:
    async with news.listen(EXPORT) as staying:
        async with news.listen(EXPORT):
            pass
        await news.publish(EXPORT)

        assert await hears(staying)


async def test_news_cross_from_one_process_to_another(redis_url: str) -> None:
    settings = settings_with(redis_url=redis_url)
    async with (
        open_news(settings) as here,
        open_news(settings) as there,
        here.listen(EXPORT) as listener,
    ):
        assert await hears(listener)  # the subscription has begun
        await there.publish(EXPORT)

        assert await hears(listener)


async def test_what_others_publish_on_the_channel_is_no_news(redis_url: str) -> None:
    settings = settings_with(redis_url=redis_url)
    async with open_news(settings) as news, news.listen(EXPORT) as listener:
        await settled(listener)
        with redis.Redis.from_url(redis_url) as client:
            client.publish(CHANNEL, b"\xff not an id")
        await news.publish(EXPORT)

        assert await hears(listener)


async def test_a_thousand_listeners_share_one_subscription(redis_url: str) -> None:
    exports = [uuid4() for _ in range(1000)]
    async with (
        open_news(settings_with(redis_url=redis_url)) as news,
        AsyncExitStack() as stack,
    ):
        listeners = [await stack.enter_async_context(news.listen(each)) for each in exports]
        await asyncio.gather(*(settled(listener) for listener in listeners))

        assert subscribers(redis_url) == 1
        for each in exports:
            await news.publish(each)
        assert all(await asyncio.gather(*(hears(listener) for listener in listeners)))


def subscribers(redis_url: str) -> int:
    with redis.Redis.from_url(redis_url) as client:
        ((_, count),) = client.pubsub_numsub(CHANNEL)
        return int(count)


async def test_nobody_subscribes_before_somebody_listens(redis_url: str) -> None:
    async with open_news(settings_with(redis_url=redis_url)) as news:
        await news.publish(EXPORT)

        assert subscribers(redis_url) == 0


async def test_closing_ends_the_subscription_at_once(redis_url: str) -> None:
    async with open_news(settings_with(redis_url=redis_url)) as news:
        async with news.listen(EXPORT) as listener:
            assert await hears(listener)
        before, tasks = time.monotonic(), asyncio.all_tasks()

    async def nobody_subscribes() -> bool:
        return subscribers(redis_url) == 0

    await until(nobody_subscribes)
    assert time.monotonic() - before < 5
    assert asyncio.all_tasks() < tasks


async def test_publishing_to_a_redis_that_is_down_says_so_at_once() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with open_news(settings_with(redis_url=url)) as news:
        before = time.monotonic()
        with pytest.raises(QueueUnavailable):
            await news.publish(EXPORT)
        assert time.monotonic() - before < 3


async def test_listening_to_a_redis_that_is_down_is_silence_that_ends_with_the_process() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with open_news(settings_with(redis_url=url)) as news, news.listen(EXPORT) as listener:
        assert not await hears(listener, QUIET_S)


async def test_listeners_are_woken_and_hear_again_when_redis_comes_back() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        async with (
            open_news(settings_with(redis_url=server.url())) as news,
            news.listen(EXPORT) as listener,
            news.listen(OTHER) as other,
        ):
            await news.publish(EXPORT)
            await asyncio.gather(settled(listener), settled(other))
            server.kill()
            server.start()

            assert await hears(listener)  # news may have been missed
            assert await hears(other)
            await news.publish(EXPORT)
            assert await hears(listener)


async def test_a_redis_that_fell_silent_is_left_for_a_new_connection(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with open_proxy("127.0.0.1", parts.port) as proxy:
        pool = redis_pool(f"redis://:{parts.password}@127.0.0.1:{proxy.port}")
        news = RedisNews(Redis(connection_pool=pool), silence_s=QUIET_S)
        async with aclosing(news), news.listen(EXPORT) as listener:
            assert await hears(listener)
            proxy.fault(Hang(), on=b"PING")

            assert await hears(listener)  # subscribed anew
            assert proxy.count(b"SUBSCRIBE") == 2

            async def asked() -> bool:
                return proxy.count(b"PING") >= 3

            await until(asked)  # and kept, since it answers now
            assert proxy.count(b"SUBSCRIBE") == 2
        await pool.aclose()
