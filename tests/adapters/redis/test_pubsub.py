"""Publish and subscribe, on a real Redis and on one that goes away; the one in memory alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from redis.asyncio import Redis
from structlog.testing import capture_logs

from app.adapters.redis.connections import redis_pool
from app.adapters.redis.pubsub import CHANNEL, RedisExportEvents, open_export_events
from app.errors import QueueUnavailable
from app.observability.metrics import Metrics
from app.ports import ExportEvents
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox, free_port
from tests.adapters.settings import settings_with
from tests.fakes import MemoryExportEvents
from tests.hostile import MIB, measured_memory
from tests.polling import HANGS_S, until
from tests.proxy import Hang, open_proxy

EXPORT, OTHER = uuid4(), uuid4()
WITHIN_S = 10.0
QUIET_S = 0.3

PUBLISH = "return redis.call('PUBLISH', KEYS[1], string.rep('x', tonumber(ARGV[1])))"
"""Has Redis itself make the message, so that the test has no copy."""


async def is_notified(listener: AsyncIterator[None], within_s: float = WITHIN_S) -> bool:
    """Return whether a notification arrives within a time."""
    try:
        async with asyncio.timeout(within_s):
            await anext(listener)
    except TimeoutError:
        return False
    return True


async def settled(listener: AsyncIterator[None]) -> None:
    """Wait until the subscription has begun, which wakes everybody, and all is quiet."""
    while await is_notified(listener, QUIET_S):
        pass


@pytest.fixture(params=["redis", "memory"])
async def export_events(
    request: pytest.FixtureRequest, redis_url: str
) -> AsyncIterator[ExportEvents]:
    if request.param == "memory":
        yield MemoryExportEvents()
        return
    async with open_export_events(settings_with(redis_url=redis_url)) as export_events:
        async with export_events.subscribe(OTHER) as listener:
            assert await is_notified(listener)
        yield export_events


async def test_a_listener_is_notified_of_its_export(export_events: ExportEvents) -> None:
    async with export_events.subscribe(EXPORT) as listener:
        await export_events.publish(EXPORT)

        assert await is_notified(listener)


async def test_a_listener_is_notified_of_no_other_export(export_events: ExportEvents) -> None:
    async with export_events.subscribe(EXPORT) as listener:
        await export_events.publish(OTHER)

        assert not await is_notified(listener, QUIET_S)


async def test_all_listeners_of_an_export_are_notified(export_events: ExportEvents) -> None:
    async with export_events.subscribe(EXPORT) as one, export_events.subscribe(EXPORT) as two:
        await export_events.publish(EXPORT)

        assert [await is_notified(one), await is_notified(two)] == [True, True]


async def test_a_slow_listener_is_notified_of_many_changes_once(
    export_events: ExportEvents,
) -> None:
    async with (
        export_events.subscribe(EXPORT) as slow,
        export_events.subscribe(EXPORT) as fast_settings,
    ):
        for _ in range(5):
            await export_events.publish(EXPORT)
            assert await is_notified(fast_settings)

        assert await is_notified(slow)
        assert not await is_notified(slow, QUIET_S)


async def test_a_listener_that_stopped_waiting_is_notified_later(
    export_events: ExportEvents,
) -> None:
    async with export_events.subscribe(EXPORT) as listener:
        assert not await is_notified(listener, 0.01)
        await export_events.publish(EXPORT)

        assert await is_notified(listener)


async def test_one_listener_leaving_takes_nothing_from_another(export_events: ExportEvents) -> None:
    async with export_events.subscribe(EXPORT) as staying:
        async with export_events.subscribe(EXPORT):
            pass
        await export_events.publish(EXPORT)

        assert await is_notified(staying)


async def test_changes_cross_from_one_process_to_another(redis_url: str) -> None:
    settings = settings_with(redis_url=redis_url)
    async with (
        open_export_events(settings) as here,
        open_export_events(settings) as there,
        here.subscribe(EXPORT) as listener,
    ):
        assert await is_notified(listener)  # the subscription has begun
        await there.publish(EXPORT)

        assert await is_notified(listener)


async def test_what_others_publish_on_the_channel_is_no_changes(redis_url: str) -> None:
    settings = settings_with(redis_url=redis_url)
    async with (
        open_export_events(settings) as export_events,
        export_events.subscribe(EXPORT) as listener,
    ):
        await settled(listener)
        with redis.Redis.from_url(redis_url) as client:
            client.publish(CHANNEL, b"\xff not an id")
        await export_events.publish(EXPORT)

        assert await is_notified(listener)


async def test_a_defect_does_not_end_the_subscription(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    deliver = RedisExportEvents._deliver
    defects = iter([ValueError("a defect")])

    def deliver_or_fail(self: RedisExportEvents, message: dict[str, Any]) -> None:
        for defect in defects if message["type"] == "message" else ():
            raise defect
        deliver(self, message)

    monkeypatch.setattr(RedisExportEvents, "_deliver", deliver_or_fail)
    async with (
        open_export_events(settings_with(redis_url=redis_url), metrics) as export_events,
        export_events.subscribe(EXPORT) as listener,
    ):
        await settled(listener)
        await export_events.publish(EXPORT)

        assert await is_notified(listener)  # subscribed again
    count = metrics.registry.get_sample_value(
        "audience_export_unexpected_errors_total", {"component": "export events"}
    )
    assert count == 1


async def test_a_thousand_listeners_share_one_subscription(redis_url: str) -> None:
    exports = [uuid4() for _ in range(1000)]
    async with (
        open_export_events(settings_with(redis_url=redis_url)) as export_events,
        AsyncExitStack() as stack,
    ):
        listeners = [
            await stack.enter_async_context(export_events.subscribe(each)) for each in exports
        ]
        await asyncio.gather(*(settled(listener) for listener in listeners))

        assert subscribers(redis_url) == 1
        for each in exports:
            await export_events.publish(each)
        assert all(await asyncio.gather(*(is_notified(listener) for listener in listeners)))


def subscribers(redis_url: str) -> int:
    with redis.Redis.from_url(redis_url) as client:
        ((_, count),) = client.pubsub_numsub(CHANNEL)
        return int(count)


async def test_nobody_subscribes_before_somebody_listens(redis_url: str) -> None:
    async with open_export_events(settings_with(redis_url=redis_url)) as export_events:
        await export_events.publish(EXPORT)

        assert subscribers(redis_url) == 0


async def test_closing_ends_the_subscription_at_once(redis_url: str) -> None:
    async with open_export_events(settings_with(redis_url=redis_url)) as export_events:
        async with export_events.subscribe(EXPORT) as listener:
            assert await is_notified(listener)
        tasks = asyncio.all_tasks()

    async def nobody_subscribes() -> bool:
        return subscribers(redis_url) == 0

    await until(nobody_subscribes)
    assert asyncio.all_tasks() < tasks


async def test_publishing_to_a_redis_that_is_down_says_so_at_once() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with open_export_events(settings_with(redis_url=url)) as export_events:
        async with asyncio.timeout(HANGS_S):
            with pytest.raises(QueueUnavailable):
                await export_events.publish(EXPORT)


async def test_listening_to_a_redis_that_is_down_is_silence_that_ends_with_the_process() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    async with (
        open_export_events(settings_with(redis_url=url)) as export_events,
        export_events.subscribe(EXPORT) as listener,
    ):
        assert not await is_notified(listener, QUIET_S)


async def test_listeners_are_woken_and_notified_again_when_redis_comes_back() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        async with (
            open_export_events(settings_with(redis_url=server.url())) as export_events,
            export_events.subscribe(EXPORT) as listener,
            export_events.subscribe(OTHER) as other,
        ):
            await export_events.publish(EXPORT)
            await asyncio.gather(settled(listener), settled(other))
            server.kill()
            server.start()

            assert await is_notified(listener)  # changes may have been missed
            assert await is_notified(other)
            await export_events.publish(EXPORT)
            assert await is_notified(listener)


async def test_a_redis_that_fell_silent_is_left_for_a_new_connection(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with open_proxy("127.0.0.1", parts.port) as proxy:
        pool = redis_pool(f"redis://:{parts.password}@127.0.0.1:{proxy.port}")
        export_events = RedisExportEvents(Redis(connection_pool=pool), ping_after_s=QUIET_S)
        async with aclosing(export_events), export_events.subscribe(EXPORT) as listener:
            assert await is_notified(listener)
            proxy.fault(Hang(), on=b"PING")

            assert await is_notified(listener)  # subscribed again
            assert proxy.count(b"SUBSCRIBE") == 2

            async def is_subscribed() -> bool:
                return proxy.count(b"PING") >= 3

            await until(is_subscribed)  # and kept, since it answers now
            assert proxy.count(b"SUBSCRIBE") == 2
        await pool.aclose()


async def test_a_message_as_long_as_can_be_takes_little_memory_and_stops_no_changes(
    redis_url: str,
) -> None:
    """Redis drops a subscriber for whom more than 32 MB wait (client-output-buffer-limit)."""
    async with (
        open_export_events(settings_with(redis_url=redis_url)) as export_events,
        export_events.subscribe(EXPORT) as here,
    ):
        await settled(here)
        flood = Redis.from_url(redis_url)
        with measured_memory() as memory:
            await flood.eval(PUBLISH, 1, CHANNEL, 128 * MIB)
            await flood.publish(CHANNEL, b"\xff" * MIB)
            await flood.publish(CHANNEL, b"")
        await flood.aclose()
        await settled(here)
        await export_events.publish(EXPORT)
        assert await is_notified(here)
    assert memory.peak < 16 * MIB


async def test_a_user_without_channels_is_logged_once() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        with redis.Redis.from_url(server.url()) as client:
            client.acl_setuser("mute", enabled=True, passwords=["+x"], categories=["+@all"])
        url = server.url().replace(f":{server.password}", "mute:x")
        with capture_logs() as logs:
            async with (
                open_export_events(settings_with(redis_url=url)) as export_events,
                export_events.subscribe(EXPORT),
            ):

                async def is_logged() -> bool:
                    return bool(logs)

                await until(is_logged)
                with pytest.raises(QueueUnavailable):
                    await export_events.publish(EXPORT)
                await asyncio.sleep(QUIET_S)
    assert [line["event"] for line in logs] == ["subscription refused"]
