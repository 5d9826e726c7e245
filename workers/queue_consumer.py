"""The queue consumer: an arq worker for each lane, restarted when Redis is available again.

A failure here costs seconds and nothing else: workers poll PostgreSQL as well.
"""

import asyncio
from collections.abc import Mapping

import structlog
from arq.worker import Worker
from redis.exceptions import NoPermissionError, RedisError

from app.adapters.redis.connections import require_single_server
from app.adapters.redis.queue import arq_redis
from app.adapters.redis.wakeups import subscribe_wakeups
from app.concurrency import cancel_and_wait
from app.config import Settings
from app.ports import Lane
from workers.arq_worker import WakeableWorker, create_worker
from workers.executor import ExportExecutor

log = structlog.get_logger()

RECONNECT_S = 1.0
REFUSED_S = 60.0
"""When to try again to subscribe, where the user has no right to the channel."""

SETTLED_S = 15.0
"""The loss of a connection that lasted this long is logged again."""

REDIS_ERRORS = (RedisError, OSError, TimeoutError)

Workers = Mapping[Lane, WakeableWorker]


class QueueConsumer:
    """Keeps an arq worker running for each lane; Redis may go away and come back.

    The first of several failures alike is logged, as a warning.
    """

    def __init__(self, settings: Settings, executor: ExportExecutor) -> None:
        self._settings = settings
        self._executor = executor
        self._last_error: dict[str, str] = {}

    async def consume(self) -> None:
        """Consume for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._consume_until_lost()
            except* REDIS_ERRORS as errors:
                if loop.time() - began > SETTLED_S:
                    self._last_error.clear()
                self._log_once("queue connection lost", _first(errors))
            await asyncio.sleep(RECONNECT_S)

    async def _consume_until_lost(self) -> None:
        """Consume, and be woken up.

        Raises:
            ExceptionGroup: of what Redis being away makes redis-py raise.
        """
        lanes = self._settings.worker_lanes
        workers = {lane: create_worker(self._settings, self._executor, lane) for lane in lanes}
        try:
            await require_single_server(workers[lanes[0]].pool)
            async with asyncio.TaskGroup() as group:
                tasks = {group.create_task(each.async_run()) for each in workers.values()}
                tasks.add(group.create_task(self._be_woken(workers)))
                try:
                    await asyncio.wait(tasks)
                finally:
                    # The group cancels only once, which redis-py may lose: it would wait for ever.
                    await cancel_and_wait(*tasks)
        finally:
            await asyncio.gather(*map(_close, workers.values()))

    async def _be_woken(self, workers: Workers) -> None:
        """Wake the workers of lanes with a new job; without the right to subscribe, they poll."""
        redis = arq_redis(self._settings)
        try:
            while True:
                try:
                    async for lane in subscribe_wakeups(redis):
                        self._last_error.pop("wake-ups refused", None)
                        for each in workers if lane is None else workers.keys() & {lane}:
                            workers[each].wake()
                except NoPermissionError as error:
                    self._log_once("wake-ups refused", error)
                await asyncio.sleep(REFUSED_S)
        finally:
            await redis.aclose(close_connection_pool=True)

    def _log_once(self, event: str, error: Exception) -> None:
        kind = type(error).__name__
        if self._last_error.get(event) != kind:
            log.warning(event, error=kind, reason=str(error))
        self._last_error[event] = kind


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """Return one of the errors of a group and its groups."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _close(worker: Worker) -> None:
    """Cancel the jobs, which only wait for exports; the exports continue.

    arq's own ``close`` raises what its jobs raise, a cancel among them, and
    then leaves its connections open.
    """
    for job in worker.tasks.values():
        job.cancel()
    await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    try:
        await worker.pool.delete(worker.health_check_key)
    except REDIS_ERRORS as error:
        log.debug("queue connection lost during shutdown", error=type(error).__name__)
    finally:
        await worker.pool.aclose(close_connection_pool=True)
