"""The job queue: arq jobs in Redis, each a hint that an export waits in PostgreSQL."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.constants import expires_extra_ms, health_check_key_suffix, job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoPermissionError, RedisError

from app.adapters.redis import installations
from app.adapters.redis.connections import CircuitBreaker, redis_pool, require_single_server
from app.config import Settings
from app.ports import ExportJob, Lane

log = structlog.get_logger()

JOB_NAME = "run_export"
QUEUE_NAME = "audience-export:queue"
WAKEUP_CHANNEL = "audience-export:wakeups"
"""The channel that carries the lane of each newly enqueued job."""

PROBE = "audience-export:probe"
"""The id of a job that never exists; :meth:`ArqExportQueue.check` writes to it with ``XX``."""

OWN_KEYS = "audience-export:*"
JOB_KEYS = f"{job_key_prefix}*"
"""Key patterns of everything stored in Redis: our keys, and arq's job definitions."""


def serialize(job: dict[str, Any]) -> bytes:
    """Return arq's job definition as JSON instead of pickle, which could run code on the worker.

    A value that JSON cannot hold (a result that is an exception) becomes its ``repr``.
    """
    return json.dumps(job, default=repr).encode()


def deserialize(data: bytes) -> dict[str, Any]:
    """Return the job definition that :func:`serialize` wrote.

    Raises:
        ValueError: the bytes are not a JSON object.
    """
    job = json.loads(data)
    if not isinstance(job, dict):
        raise ValueError("a job is a JSON object")  # noqa: TRY004 - as for any other bytes
    return job


def queue_name(lane: Lane) -> str:
    """Return the name of a lane's arq queue."""
    return QUEUE_NAME if lane == "small" else f"{QUEUE_NAME}:{lane}"


def health_check_key(lane: Lane) -> str:
    """Return the key that a lane's arq worker refreshes every few seconds."""
    return queue_name(lane) + health_check_key_suffix


def job_id(export_id: UUID, attempt: int) -> str:
    """Return arq's job id of an attempt; it is unique, so each attempt is enqueued once."""
    return f"{export_id}:{attempt}"


class ArqExportQueue:
    """Enqueues arq jobs; connects on first use."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._breaker = CircuitBreaker(redis.connection_pool)
        self._may_publish = True

    async def enqueue(self, job: ExportJob) -> None:
        """Add a job, and wake workers up if it was not there.

        Raises:
            QueueUnavailable: Redis is unavailable or refuses the command; workers then find
                the export by polling.
        """
        async with self._breaker.call():
            is_new = await self._add(job)
        # After the job is in its queue: a worker that wakes up earlier finds the queue empty.
        if is_new:  # each wake-up reaches every worker of the fleet
            async with self._breaker.call():
                [published], _ = await self._execute(
                    lambda commands: commands.publish(WAKEUP_CHANNEL, job.lane)
                )
            self._note_wake_up(published)

    async def register(self, installation: str) -> None:
        """Note that an installation's workers use this Redis, for ``doctor``.

        Raises:
            QueueUnavailable: Redis is unavailable or refuses the command.
        """
        async with self._breaker.call():
            await installations.register(self._redis, installation)

    async def check(self) -> None:
        """Check that jobs can be enqueued, with writes that change nothing (``XX``).

        Raises:
            QueueUnavailable: Redis is unavailable, full, read-only, or refuses the commands.
        """
        async with self._breaker.call(), self._redis.pipeline(transaction=False) as probe:
            await require_single_server(self._redis)
            probe.set(job_key_prefix + PROBE, b"", xx=True, px=expires_extra_ms)
            for lane in get_args(Lane):
                probe.zadd(queue_name(lane), {PROBE: 0}, xx=True)
            await probe.execute()

    async def _add(self, job: ExportJob) -> bool:
        """Do what arq's ``enqueue_job`` does in one round trip; return whether the job is new.

        ``NX`` leaves a job that is already queued as it is, so the commands can be
        repeated when a lost connection leaves their result unknown; then it counts as new.
        """
        name, now_ms = job_id(job.export_id, job.attempt), timestamp_ms()
        arguments = (job.seller_id, str(job.export_id))
        # Mirrors arq 0.28.0, arq/connections.py, lines 119-181, which take two round trips.
        description = serialize_job(JOB_NAME, arguments, {}, None, now_ms, serializer=serialize)

        def add(pipeline: Pipeline) -> None:
            # The description first, since there is no MULTI: a worker drops an id without one.
            pipeline.set(job_key_prefix + name, description, nx=True, px=expires_extra_ms)
            pipeline.zadd(queue_name(job.lane), {name: now_ms}, nx=True)

        answers, is_repeated = await self._execute(add)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        _, added = answers
        # Not SET's answer: a description may be left from a try whose ZADD was refused.
        return bool(added) or is_repeated

    async def _execute(self, add: Callable[[Pipeline], object]) -> tuple[list[Any], bool]:
        """Execute the commands that ``add`` adds, again where the connection is lost.

        Without MULTI, so that an error of one leaves the others as they are. Returns the answers,
        errors among them, and whether the commands were repeated.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            add(pipeline)
            try:
                return await pipeline.execute(raise_on_error=False), False
            except ConnectionLost:
                # Again: the failed execute() has emptied the pipeline.
                add(pipeline)
                return await pipeline.execute(raise_on_error=False), True

    def _note_wake_up(self, answer: Any) -> None:
        """Log when PUBLISH begins to be refused; not again until it has worked once."""
        was_possible = self._may_publish
        self._may_publish = not isinstance(answer, NoPermissionError)
        if was_possible and not self._may_publish:
            log.warning("wake-ups refused", reason=str(answer))


def arq_redis(settings: Settings) -> ArqRedis:
    """Return arq's client, for the queue and the worker; it connects on first use.

    arq's own ``create_pool`` connects immediately and retries for seconds: the
    service could not start without Redis.

    Raises:
        SettingsInvalid: ``REDIS_URL`` is not a valid Redis URL.
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
        SettingsInvalid: ``REDIS_URL`` is not a valid Redis URL.
    """
    redis = arq_redis(settings)
    try:
        yield ArqExportQueue(redis)
    finally:
        # redis.aclose() alone leaves a pool open that was passed to it.
        await redis.connection_pool.aclose()
