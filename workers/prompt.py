"""An arq worker that looks at its queue when it is told to, not only now and then."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import structlog
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.jobs import SerializationError, deserialize_job_raw
from arq.worker import Worker

log = structlog.get_logger()


class PromptWorker(Worker):
    """Sleeps until :meth:`wake`, the end of a job or ``poll_delay``, whichever is first.

    arq's own loop knows only the last: small delays cost a waking each, long
    ones most of a small export's time. And where arq asks Redis five times
    for each job before it runs, counting its tries, one round trip takes all
    that there are places for. The keys are arq's.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    async def main(self) -> None:
        """Take jobs until cancelled, as arq's own loop does.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        while True:
            self._woken.clear()
            await self._poll_iteration()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.poll_delay_s):
                    await self._woken.wait()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start those that run nowhere, as many as there are places for.

        They stay on the queue until they end; those that run here are not
        asked for again.
        """
        names = [name for name in map(bytes.decode, job_ids) if name not in self.tasks]
        while names and (places := self.max_jobs - self.job_counter) > 0:
            asked, names = names[:places], names[places:]
            for name, job in await self._take(asked):
                await self.sem.acquire()
                self.job_counter += 1
                self.tasks[name] = task = self.loop.create_task(self._perform(name, job))
                task.add_done_callback(lambda _: self._release_sem_dec_counter_on_complete())

    async def _take(self, names: Sequence[str]) -> list[tuple[str, bytes | None]]:
        """Mark jobs as taken and return those that nobody else had, with their descriptions."""
        taken_ms = int(self.in_progress_timeout_s * 1000)
        async with self.pool.pipeline(transaction=False) as asking:
            for name in names:
                asking.set(in_progress_key_prefix + name, b"1", nx=True, px=taken_ms)
                asking.zscore(self.queue_name, name)
                asking.get(job_key_prefix + name)
            answers = iter(await asking.execute())
        marked = [(name, *rest) for name, *rest in zip(names, *[answers] * 3, strict=True)]
        ended = [name for name, mark, score, _ in marked if mark and score is None]
        if ended:
            await self.pool.delete(*(in_progress_key_prefix + name for name in ended))
        return [(name, job) for name, mark, score, job in marked if mark and score is not None]

    async def _perform(self, name: str, job: bytes | None) -> None:
        """Run a job and take it off the queue; one that is cancelled here is left to others."""
        is_over = True
        try:
            await self._call(job)
            self.jobs_complete += 1
        except asyncio.CancelledError:
            self.jobs_retried += 1
            is_over = False
        except SerializationError as error:
            log.warning("job dropped", job=name, reason=str(error))
            self.jobs_failed += 1
        except Exception:
            log.exception("job broke", job=name)
            self.jobs_failed += 1
        await asyncio.shield(self.finish_job(name, is_over, None, None, False, None, None))

    async def _call(self, job: bytes | None) -> None:
        """Call what a job names.

        Raises:
            SerializationError: the description has expired, or is none.
            TimeoutError: it took longer than ``job_timeout``.
        """
        if job is None:
            raise SerializationError("Its description has expired.")
        name, arguments, options, _, _ = deserialize_job_raw(
            job, deserializer=self.job_deserializer
        )
        async with asyncio.timeout(self.job_timeout_s):
            await self.functions[name].coroutine(self.ctx, *arguments, **options)

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        self.wake()
