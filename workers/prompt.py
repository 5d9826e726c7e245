"""An arq worker that looks at its queue when it is told to, not only now and then."""

import asyncio
import contextlib
from typing import Any

from arq.worker import Worker


class PromptWorker(Worker):
    """Sleeps until :meth:`wake`, the end of a job or ``poll_delay``, whichever is first.

    arq's own loop knows only the last: small delays cost a waking each, long
    ones most of a small export's time.
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
        """Start those that do not run here already.

        They stay on the queue until they end; arq would ask for each, at every look.
        """
        await super().start_jobs([name for name in job_ids if name.decode() not in self.tasks])

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        self.wake()
