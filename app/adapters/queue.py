"""The bell: arq jobs in Redis that say "look at this export"."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

from arq.connections import ArqRedis
from arq.constants import (
    expires_extra_ms,
    health_check_key_suffix,
    in_progress_key_prefix,
    job_key_prefix,
)
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from app.adapters.redis import redis_pool
from app.config import Settings
from app.errors import QueueUnavailable
from app.ports import Lane

JOB_NAME = "run_export"
QUEUE_NAME = "audience-export:queue"
DOORBELL = "audience-export:bell"
"""The channel on which workers hear that there is a job in a lane."""

RING_TIMEOUT_S = 3.0
AGAIN_S = 60


def serialize(job: dict[str, Any]) -> bytes:
    """Return arq's description of a job as JSON; the worker reads the same.

    What JSON cannot hold (a result that is an exception) becomes its ``repr``.
    """
    return json.dumps(job, default=repr).encode()


def deserialize(data: bytes) -> dict[str, Any]:
    """Return what :func:`serialize` was given.

    Raises:
        ValueError: these bytes are not a job of ours.
    """
    job = json.loads(data)
    if not isinstance(job, dict):
        raise ValueError("a job is a JSON object")  # noqa: TRY004 - as for any other bytes
    return job


def queue_name(lane: Lane) -> str:
    """Return the name of a lane's arq queue."""
    return QUEUE_NAME if lane == "small" else f"{QUEUE_NAME}:{lane}"


def health_key(lane: Lane) -> str:
    """Return where arq's workers say every few seconds that they listen to a lane."""
    return queue_name(lane) + health_check_key_suffix


def job_id(export_id: UUID, attempt: int) -> str:
    """Return the id under which arq knows an attempt, so that it rings once."""
    return f"{export_id}:{attempt}"


class ArqExportQueue:
    """Rings by enqueueing an arq job; connects when first used."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def ring(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        """Ask some worker to look at this export's lane; the same attempt rings once.

        Raises:
            QueueUnavailable: Redis is away; the sweep will ring later.
        """
        async with _answering():
            await self._enqueue(job_id(export_id, attempt), seller_id, export_id, lane)

    async def ring_again(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        """Ring although a worker may have heard this bell already, and died.

        A job that still waits on the queue is bell enough. One that a worker
        took keeps its id from being used, dead or alive, for as long as arq
        gives jobs; so this one has another, a new one each minute.

        Raises:
            QueueUnavailable: Redis is away.
        """
        first = job_id(export_id, attempt)
        async with _answering():
            if not await self._waits(first, lane):
                again = f"{first}:{time.time() // AGAIN_S:.0f}"
                await self._enqueue(again, seller_id, export_id, lane)

    async def check(self) -> None:
        """Return when the queue can be reached.

        Raises:
            QueueUnavailable: Redis is away.
        """
        async with _answering():
            await self._redis.ping()

    async def _enqueue(self, known_as: str, seller_id: int, export_id: UUID, lane: Lane) -> None:
        """Do as arq's ``enqueue_job`` in one round trip, and wake the workers.

        A job that is known, waiting or taken, stays as it is: so what a lost
        connection leaves unknown is done again.
        """
        now_ms = timestamp_ms()
        job = serialize_job(
            JOB_NAME, (seller_id, str(export_id)), {}, None, now_ms, serializer=serialize
        )
        async with self._redis.pipeline(transaction=True) as ring:
            for try_ in (1, 2):
                ring.set(job_key_prefix + known_as, job, nx=True, px=expires_extra_ms)
                ring.zadd(queue_name(lane), {known_as: now_ms}, nx=True)
                ring.publish(DOORBELL, lane)
                try:
                    await ring.execute()
                except ConnectionLost:
                    if try_ == 2:
                        raise
                else:
                    return

    async def _waits(self, known_as: str, lane: Lane) -> bool:
        """Return whether the job is on the queue and no worker has taken it."""
        if await self._redis.zscore(queue_name(lane), known_as) is None:
            return False
        return not await self._redis.exists(in_progress_key_prefix + known_as)


def arq_redis(settings: Settings) -> ArqRedis:
    """Return arq's client, for the queue and the worker; it connects when first used.

    arq's own ``create_pool`` would connect, and try again for seconds, at once.

    Raises:
        SettingsInvalid: ``REDIS_URL`` cannot be understood.
    """
    return ArqRedis(
        redis_pool(settings.redis_url),
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=QUEUE_NAME,
    )


@asynccontextmanager
async def open_queue(settings: Settings) -> AsyncIterator[ArqExportQueue]:
    """Yield the queue; Redis need not be up.

    Raises:
        SettingsInvalid: ``REDIS_URL`` cannot be understood.
    """
    redis = arq_redis(settings)
    try:
        yield ArqExportQueue(redis)
    finally:
        await redis.connection_pool.aclose()


@contextmanager
def redis_errors() -> Iterator[None]:
    """Translate what a Redis that is away makes redis-py raise.

    Raises:
        QueueUnavailable: Redis is away, out of memory or refuses us.
    """
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailable("The job queue cannot be reached.") from error


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Bound a call as a whole: waiting for a connection, connecting and the answers."""
    with redis_errors():
        async with asyncio.timeout(RING_TIMEOUT_S):
            yield
