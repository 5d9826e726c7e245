"""Export events over Redis publish/subscribe: one Redis subscription per process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import NoPermissionError, RedisError

from app.adapters.redis.connections import CircuitBreaker, redis_pool
from app.concurrency import cancel_and_wait
from app.config import Settings
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected

log = structlog.get_logger()

CHANNEL = "audience-export:changes"
"""One channel for all exports. Redis channels do not belong to a numbered database; two
installations on one server see each other's messages, which UUIDs make harmless."""

PING_AFTER_S = 10.0
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
RETRY_REFUSED_S = 60.0
"""The pause before subscribing again where the ACL denies the channel."""


class Subscription:
    """An iterator that yields after each change; changes between two waits are merged into one.

    Cancelling a wait loses no change.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[None]:
        return self

    async def __anext__(self) -> None:
        await self._changed.wait()
        # After the wait, not before it: a change since the last yield would be lost.
        self._changed.clear()

    def notify(self) -> None:
        """Let the current wait, or else the next one, return."""
        self._changed.set()


class SubscriptionRegistry:
    """The subscriptions of this process, by export."""

    def __init__(self) -> None:
        self._subscriptions: dict[UUID, set[Subscription]] = {}

    @contextlib.contextmanager
    def subscribe(self, export_id: UUID) -> Iterator[Subscription]:
        """Yield a subscription to one export; leaving the context ends it."""
        subscription = Subscription()
        self._subscriptions.setdefault(export_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[export_id].discard(subscription)
            if not self._subscriptions[export_id]:
                del self._subscriptions[export_id]

    def notify(self, export_id: UUID) -> None:
        """Notify the subscriptions to one export."""
        for subscription in self._subscriptions.get(export_id, ()):
            subscription.notify()

    def notify_all(self) -> None:
        """Notify every subscription, after a gap in which changes may have been missed."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.notify()


class RedisExportEvents:
    """Publishes to one channel and fans its single Redis subscription out to all subscribers.

    The Redis subscription starts with the first subscriber and lasts until ``aclose``. Each time
    it is (re-)established, all subscribers are notified, since changes may have been missed: a
    client that first subscribes and then reads the row misses nothing. After ``ping_after_s``
    seconds without a message the connection is tested with PING.
    """

    def __init__(
        self, redis: Redis, ping_after_s: float = PING_AFTER_S, metrics: Metrics | None = None
    ) -> None:
        self._redis = redis
        self._ping_after_s = ping_after_s
        self._metrics = metrics or Metrics()
        self._breaker = CircuitBreaker(redis.connection_pool)
        self._subscriptions = SubscriptionRegistry()
        self._reader: asyncio.Task[None] | None = None

    async def publish(self, export_id: UUID) -> None:
        """Notify all subscribers, in every process, that the export's row has changed.

        Raises:
            QueueUnavailable: Redis is unavailable; subscribers have to poll the database.
        """
        async with self._breaker.call():
            await self._redis.publish(CHANNEL, str(export_id))

    @asynccontextmanager
    async def subscribe(self, export_id: UUID) -> AsyncIterator[Subscription]:
        """Yield an iterator that yields at least once after each published change."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_for_ever(), name="export events")
        with self._subscriptions.subscribe(export_id) as subscription:
            yield subscription

    async def aclose(self) -> None:
        """End the Redis subscription; subscribers are not notified any more."""
        if self._reader is not None:
            await cancel_and_wait(self._reader)

    async def _read_for_ever(self) -> None:
        delay_s = RETRY_MIN_S
        is_refused = False
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    async for message in receive_messages(pubsub, self._ping_after_s):
                        # Not after subscribe(), which does not wait: the reply may be a refusal.
                        delay_s, is_refused = RETRY_MIN_S, False
                        self._deliver(message)
            except NoPermissionError as error:
                if not is_refused:
                    log.warning("subscription refused", reason=str(error))
                delay_s, is_refused = RETRY_REFUSED_S, True
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("subscription lost", error=type(error).__name__, retry_s=delay_s)
            except Exception:  # ended, it would leave every subscriber of the process unnotified
                report_unexpected(self._metrics, "export events")
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._subscriptions.notify_all()
        elif message["type"] == "message":
            with contextlib.suppress(ValueError):  # not a UUID: another program published it
                self._subscriptions.notify(UUID(message["data"].decode()))


async def receive_messages(pubsub: PubSub, ping_after_s: float) -> AsyncIterator[dict[str, Any]]:
    """Yield messages, subscription confirmations and pongs until the connection is lost.

    Raises:
        TimeoutError: nothing arrived for ``ping_after_s`` seconds, nor in as long after a PING.
    """
    while True:
        # Not with ignore_subscribe_messages: callers react to each confirmation.
        message = await pubsub.get_message(timeout=ping_after_s)
        if message is None:
            await pubsub.ping()
            message = await pubsub.get_message(timeout=ping_after_s)
        if message is None:
            raise TimeoutError
        yield message


@asynccontextmanager
async def open_export_events(
    settings: Settings, metrics: Metrics | None = None
) -> AsyncIterator[RedisExportEvents]:
    """Yield the publisher and subscriber; Redis need not be up.

    Raises:
        SettingsInvalid: ``REDIS_URL`` is not a valid Redis URL.
    """
    pool = redis_pool(settings.redis_url)
    events = RedisExportEvents(Redis(connection_pool=pool), metrics=metrics)
    try:
        yield events
    finally:
        # The reader first: it would reconnect after the pool is closed.
        await events.aclose()
        await pool.aclose()
