"""News of exports over Redis publish/subscribe: one subscription per process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.adapters.queue import redis_errors
from app.adapters.redis import redis_pool
from app.config import Settings
from app.ending import end

log = structlog.get_logger()

CHANNEL = "audience-export:news"
"""Channels are the whole server's, not one numbered database's; ids never clash."""

PUBLISH_TIMEOUT_S = 3.0
SILENCE_S = 10.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 2.0


class Listener:
    """Yields when there is news; several pieces that nobody waited for are one.

    Being cancelled while waiting loses nothing.
    """

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[None]:
        return self

    async def __anext__(self) -> None:
        await self._news.wait()
        self._news.clear()

    def wake(self) -> None:
        """Tell whoever waits, now or next."""
        self._news.set()


class Listeners:
    """Who in this process listens to which export."""

    def __init__(self) -> None:
        self._listeners: dict[UUID, set[Listener]] = {}

    @contextlib.contextmanager
    def listening(self, export_id: UUID) -> Iterator[Listener]:
        """Yield a listener that hears of the export while the context is open."""
        listener = Listener()
        self._listeners.setdefault(export_id, set()).add(listener)
        try:
            yield listener
        finally:
            self._listeners[export_id].discard(listener)
            if not self._listeners[export_id]:
                del self._listeners[export_id]

    def wake(self, export_id: UUID) -> None:
        """Wake the listeners of one export."""
        for listener in self._listeners.get(export_id, ()):
            listener.wake()

    def wake_all(self) -> None:
        """Wake every listener: news may have been missed."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.wake()


class RedisNews:
    """Publishes to one channel and fans one subscription out to all listeners.

    The subscription begins with the first listener and lasts until ``aclose``.
    Whenever it begins anew, every listener is woken, since news may have been
    missed: whoever listens first and then reads the row misses nothing. A
    server that is silent for ``silence_s`` is asked whether it lives.
    """

    def __init__(self, redis: Redis, silence_s: float = SILENCE_S) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._listeners = Listeners()
        self._reader: asyncio.Task[None] | None = None

    async def publish(self, export_id: UUID) -> None:
        """Tell all listeners that the export's row has changed.

        Raises:
            QueueUnavailable: Redis is away; listeners must find out by themselves.
        """
        with redis_errors():
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._redis.publish(CHANNEL, str(export_id))

    @asynccontextmanager
    async def listen(self, export_id: UUID) -> AsyncIterator[Listener]:
        """Yield an iterator that yields once or more after each change told of."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_for_ever(), name="export news")
        with self._listeners.listening(export_id) as listener:
            yield listener

    async def aclose(self) -> None:
        """End the subscription; listeners hear nothing more."""
        if self._reader is not None:
            await end(self._reader)

    async def _read_for_ever(self) -> None:
        delay_s = BACKOFF_S
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    async for message in messages(subscription, self._silence_s):
                        delay_s = BACKOFF_S
                        self._deliver(message)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("no news from Redis", error=type(error).__name__, retry_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACKOFF_MAX_S)

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listeners.wake_all()
        elif message["type"] == "message":
            with contextlib.suppress(ValueError):  # not ours: anyone may publish
                self._listeners.wake(UUID(message["data"].decode()))


async def messages(subscription: PubSub, silence_s: float) -> AsyncIterator[dict[str, Any]]:
    """Yield messages, confirmations and pongs for as long as the server lives.

    Raises:
        TimeoutError: it was silent for ``silence_s``, and again when asked.
    """
    while True:
        message = await subscription.get_message(timeout=silence_s)
        if message is None:
            await subscription.ping()
            message = await subscription.get_message(timeout=silence_s)
        if message is None:
            raise TimeoutError
        yield message


@asynccontextmanager
async def open_news(settings: Settings) -> AsyncIterator[RedisNews]:
    """Yield the news; Redis need not be up.

    Raises:
        SettingsInvalid: ``REDIS_URL`` cannot be understood.
    """
    pool = redis_pool(settings.redis_url)
    news = RedisNews(Redis(connection_pool=pool))
    try:
        yield news
    finally:
        await news.aclose()
        await pool.aclose()
