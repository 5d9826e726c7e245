"""Fleet tasks: periodic tasks that one worker of the fleet does at a time.

A row of ``periodic_tasks`` says which worker did a task last, and from when it is due again. The
worker that does it keeps ``due_at`` a lease ahead; another takes over once the lease has expired.
The tasks themselves are safe when two workers do them at once, so that a worker that froze and
continues does no harm.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from app.concurrency import cancel_and_wait
from app.database.database import Database
from app.errors import DatabaseUnavailable

RENEWALS_PER_LEASE = 3

# One row per task, made by the first worker that looks for it.
REGISTER = "INSERT INTO periodic_tasks (name) VALUES (:name) ON CONFLICT DO NOTHING"

# Of workers that claim at once, the second waits for the row and then finds it claimed.
CLAIM = """
    UPDATE periodic_tasks
    SET worker = :worker,
        started_at = statement_timestamp(),
        due_at = statement_timestamp() + make_interval(secs => :lease_s)
    WHERE name = :name AND due_at <= statement_timestamp()
    RETURNING old.due_at
"""

# Fenced by the worker, as FINISH and FAIL: one that froze must not move its successor's due_at.
RENEW = """
    UPDATE periodic_tasks
    SET due_at = statement_timestamp() + make_interval(secs => :lease_s)
    WHERE name = :name AND worker = :worker
"""

# Due at fixed intervals, however late a poll noticed: as often with one worker as with many.
FINISH = """
    UPDATE periodic_tasks
    SET finished_at = statement_timestamp(),
        due_at = make_interval(secs => :every_s) + CASE
            WHEN CAST(:was_due_at AS timestamptz)
                > statement_timestamp() - make_interval(secs => :every_s)
            THEN CAST(:was_due_at AS timestamptz)
            ELSE statement_timestamp()
        END
    WHERE name = :name AND worker = :worker
"""

FAIL = """
    UPDATE periodic_tasks
    SET due_at = statement_timestamp() + make_interval(secs => :retry_s)
    WHERE name = :name AND worker = :worker
"""


class FleetTasks:
    """Claims fleet tasks for one worker.

    Args:
        worker: names the process, uniquely in the fleet.
        lease_s: after how many seconds without renewal another worker may take over.
    """

    def __init__(self, database: Database, worker: str, lease_s: float) -> None:
        self._database = database
        self._worker = worker
        self._lease_s = lease_s
        self._registered: set[str] = set()
        self._was_due_at: dict[str, datetime] = {}

    async def claim(self, name: str) -> bool:
        """Claim a task if it is due; return whether it is this worker's now.

        Raises:
            DatabaseUnavailable: try again.
        """
        if name not in self._registered:
            await self._database.execute(REGISTER, name=name)
            self._registered.add(name)
        claimed = await self._database.fetchrow(
            CLAIM, name=name, worker=self._worker, lease_s=self._lease_s
        )
        if claimed is None:
            # Its row may be gone: after a restore, none would be claimed again.
            self._registered.discard(name)
            return False
        self._was_due_at[name] = claimed["due_at"]
        return True

    @asynccontextmanager
    async def renewed(self, name: str) -> AsyncIterator[None]:
        """Renew the lease of a claimed task while the block runs."""
        renewing = asyncio.create_task(self._renew(name))
        try:
            yield
        finally:
            await cancel_and_wait(renewing)

    async def finish(self, name: str, every_s: float) -> None:
        """Record that a claimed task is done; it is due ``every_s`` after it was due before.

        Raises:
            DatabaseUnavailable: it is due again when the lease expires.
        """
        was_due_at = self._was_due_at[name]
        await self._database.execute(
            FINISH, name=name, worker=self._worker, was_due_at=was_due_at, every_s=every_s
        )

    async def fail(self, name: str, retry_s: float) -> None:
        """Record that a claimed task failed; it is due again after ``retry_s``.

        Raises:
            DatabaseUnavailable: it is due again when the lease expires.
        """
        await self._database.execute(FAIL, name=name, worker=self._worker, retry_s=retry_s)

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            try:
                await self._database.execute(
                    RENEW, name=name, worker=self._worker, lease_s=self._lease_s
                )
            except DatabaseUnavailable:
                continue  # The step meets the same outage and reports it.
