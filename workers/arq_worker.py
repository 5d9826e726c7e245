"""An arq worker that can be woken, one for each lane, and the job that it runs.

arq's retries, timeouts and results are not used: PostgreSQL has the state, and a job may be lost,
repeated or late without harm.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import structlog
from arq.constants import job_key_prefix
from arq.jobs import SerializationError, deserialize_job_raw
from arq.worker import Worker, func
from redis.exceptions import NoPermissionError, OutOfMemoryError

from app.adapters.redis.queue import JOB_NAME, arq_redis, deserialize, queue_name, serialize
from app.config import Settings
from app.exports.queue.lanes import slots_per_lane
from app.models import ExportKey
from app.ports import Lane
from workers.executor import ExportExecutor

POLL_DELAY_S = 2.0
"""How often a queue is polled where no wake-up arrives: PostgreSQL is polled more often."""

HEALTH_CHECK_S = 10


log = structlog.get_logger()

# What is overridden, by line of arq 0.28.0's arq/worker.py. Compare before raising arq's bound.
#   main (349-375): a wake-up ends the wait; no burst and no hooks
#   start_jobs, _take (436-476): a job leaves the queue before it runs, in one round trip
#   _read, _start, _perform, _finish (432-434, 478-711): no tries, no results, no finish_job
#   record_health (773-793): as it is, but Redis may refuse
#   queue_consumer._close (868-877): the same steps, but connections close after any error
# _poll_iteration (377-406) is arq's; it reads job_counter, max_jobs and tasks.
# Worth its weight: a job takes 0.2 ms of processor time instead of 1.7, of an export's 14.

Call = Callable[[], Awaitable[Any]]

numbers = count(1)


class WakeableWorker(Worker):
    """Polls the queue when woken, when a job ends, and every ``poll_delay``.

    arq leaves a job on the queue until it ends, under a mark that outlives a crashed worker: a
    hundred such jobs fill the window that arq reads. So a job is removed before it runs; what is
    lost with a worker, recovery finds in PostgreSQL. ``room`` returns how many jobs could start
    now, where ``max_jobs`` alone does not say.
    """

    def __init__(
        self, *arguments: Any, room: Callable[[], int] = lambda: sys.maxsize, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._room = room
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Poll the queue now."""
        self._woken.set()

    async def main(self) -> None:
        """Take jobs until cancelled, as arq's own loop does.

        Raises:
            RedisError, OSError, TimeoutError: Redis is unavailable.
        """
        while True:
            # Before the poll: cleared after it, a wake-up that arrives meanwhile would be lost.
            self._woken.clear()
            await self._poll_iteration()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.poll_delay_s):
                    await self._woken.wait()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Take jobs off the queue and start them, as many as there is room for.

        Entries that are not ours are dropped, and the queue is polled again at once.
        """
        dropped = 0
        while job_ids and (room := min(self._room(), self.max_jobs - self.job_counter)) > 0:
            batch, job_ids = job_ids[:room], job_ids[room:]
            for description in await self._take(batch):
                try:
                    self._start(self._read(description))
                except SerializationError:
                    dropped += 1
            # The new tasks run until each has its slot, so that room() counts them.
            await asyncio.sleep(0)
        if dropped:
            log.warning("jobs dropped", queue=self.queue_name, count=dropped)
            self.wake()

    async def _take(self, job_names: Sequence[bytes]) -> list[bytes | None]:
        """Take jobs off the queue; return the descriptions of those that no other worker took."""
        async with self.pool.pipeline(transaction=True) as taking:
            for name in job_names:
                taking.zrem(self.queue_name, name)
                taking.getdel(job_key_prefix.encode() + name)
            # A key of another type is an error in its reply: raised, it would lose the other jobs,
            # which are removed by then.
            replies = iter(await taking.execute(raise_on_error=False))
        pairs = zip(replies, replies, strict=True)
        return [job if isinstance(job, bytes) else None for taken, job in pairs if taken]

    def _read(self, description: bytes | None) -> Call:
        """Return what a job calls.

        Raises:
            SerializationError: the description has expired, or is none of ours.
        """
        if description is None:
            raise SerializationError("Its description has expired.")
        name, arguments, options, _, _ = deserialize_job_raw(
            description, deserializer=self.job_deserializer
        )
        function = self.functions.get(str(name))
        if function is None:
            raise SerializationError("Its function is unknown.")
        return lambda: function.coroutine(self.ctx, *arguments, **options)

    def _start(self, call: Call) -> None:
        self.job_counter += 1
        # Not under the job's name: off the queue, it may be enqueued and started once more.
        task = self.tasks[str(next(numbers))] = self.loop.create_task(self._perform(call))
        task.add_done_callback(self._finish)

    async def _perform(self, call: Call) -> None:
        try:
            async with asyncio.timeout(self.job_timeout_s):
                await call()
            self.jobs_complete += 1
        except asyncio.CancelledError:
            # Not raised: arq's _poll_iteration calls result() of ended tasks, and would end.
            self.jobs_retried += 1
        except Exception:
            log.exception("job crashed", queue=self.queue_name)
            self.jobs_failed += 1

    def _finish(self, _: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self.wake()

    async def record_health(self) -> None:
        """Write arq's health key; a Redis that is full or forbids it stops no job."""
        with contextlib.suppress(OutOfMemoryError, NoPermissionError):
            await super().record_health()


async def run_export(ctx: dict[Any, Any], seller_id: int, export_id: str) -> None:
    """Run the next export of the lane in which the job's export waits."""
    executor: ExportExecutor = ctx["executor"]
    await executor.run_next(ctx["lane"], ExportKey(seller_id, UUID(export_id)))


def create_worker(settings: Settings, executor: ExportExecutor, lane: Lane) -> WakeableWorker:
    """Return an arq worker that fills the slots of one lane of the executor.

    It takes no more jobs than it has slots for, so that another worker can take the rest. The
    job's timeout is the sum of ours, which end an export first.
    """
    job = func(run_export, name=JOB_NAME, max_tries=1_000_000)
    return WakeableWorker(
        functions=[job],
        queue_name=queue_name(lane),
        redis_pool=arq_redis(settings),
        ctx={"executor": executor, "lane": lane},
        max_jobs=slots_per_lane(settings)[lane],
        room=partial(executor.room, lane),
        job_timeout=settings.export_timeout_s + settings.record_timeout_s,
        keep_result=0,
        poll_delay=POLL_DELAY_S,
        health_check_interval=HEALTH_CHECK_S,
        handle_signals=False,
        log_results=False,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
