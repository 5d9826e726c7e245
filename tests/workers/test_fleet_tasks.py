"""Fleet tasks: one worker at a time, taken over when it dies, retried by any."""

import asyncio

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import StorageUnavailable
from tests.polling import until
from workers.fleet_tasks import FleetTasks
from workers.maintenance import SKIPPED, PeriodicTask, one_in_the_fleet

LEASE_S = 30


class Step:
    """Counts its runs; ``gate`` holds a run up, ``error`` makes it fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._error = error

    async def __call__(self) -> None:
        self.runs += 1
        await self.gate.wait()
        if self._error is not None:
            raise self._error


def task_of(
    database: Database, worker: str, step: Step, every_s: float = 3600, lease_s: float = LEASE_S
) -> PeriodicTask:
    """Return a fleet task as one worker has it."""
    fleet = FleetTasks(database, worker, lease_s)
    return one_in_the_fleet(PeriodicTask("delete orphans", step, every_s), fleet)


async def test_of_many_workers_one_does_the_task(database: Database) -> None:
    step = Step()
    tasks = [task_of(database, f"worker {number}", step) for number in range(10)]
    results = await asyncio.gather(*(task.step() for task in tasks))
    assert step.runs == 1
    assert results.count(SKIPPED) == 9


async def test_the_row_says_who_did_it_and_when(database: Database, connection: Connection) -> None:
    await task_of(database, "worker a", Step()).step()
    row = await connection.fetchrow("SELECT * FROM periodic_tasks")
    assert row is not None
    assert (row["name"], row["worker"]) == ("delete orphans", "worker a")
    assert row["started_at"] <= row["finished_at"] < row["due_at"]


async def test_a_task_is_due_again_after_its_interval(database: Database) -> None:
    step = Step()
    a, b = (task_of(database, name, step, every_s=0.02) for name in "ab")
    await a.step()

    async def is_done_again() -> bool:
        await b.step()
        return step.runs == 2

    await until(is_done_again)


async def test_a_task_of_a_worker_that_died_is_taken_over_after_its_lease(
    database: Database, connection: Connection
) -> None:
    dead = FleetTasks(database, "dead", LEASE_S)
    assert await dead.claim("delete orphans")
    step = Step()
    other = task_of(database, "other", step)
    assert await other.step() is SKIPPED
    await connection.execute("UPDATE periodic_tasks SET due_at = clock_timestamp()")
    await other.step()
    assert step.runs == 1


async def test_a_long_run_keeps_its_lease(database: Database) -> None:
    step = Step()
    step.gate.clear()
    running = asyncio.ensure_future(task_of(database, "a", step, lease_s=0.5).step())
    other = task_of(database, "b", Step(), lease_s=0.5)
    await until(lambda: asyncio.sleep(0, step.runs == 1))
    for _ in range(15):
        await asyncio.sleep(0.1)
        assert await other.step() is SKIPPED
    step.gate.set()
    await running


async def test_a_task_that_failed_is_soon_due_for_any_worker(
    database: Database, connection: Connection
) -> None:
    failing = task_of(database, "a", Step(StorageUnavailable("The store is unavailable.")))
    with pytest.raises(StorageUnavailable):
        await failing.step()
    row = await connection.fetchrow(
        "SELECT finished_at, due_at - clock_timestamp() < '31 s' AS is_soon FROM periodic_tasks"
    )
    assert row is not None
    assert tuple(row) == (None, True)


async def test_a_worker_that_lost_its_lease_does_not_move_its_successors(
    database: Database, connection: Connection
) -> None:
    frozen, successor = (FleetTasks(database, name, LEASE_S) for name in ("frozen", "new"))
    assert await frozen.claim("delete orphans")
    await connection.execute("UPDATE periodic_tasks SET due_at = clock_timestamp()")
    assert await successor.claim("delete orphans")
    await frozen.finish("delete orphans", every_s=0)
    assert not await frozen.claim("delete orphans")
    await frozen.fail("delete orphans", retry_s=0)
    assert not await frozen.claim("delete orphans")


@pytest.mark.parametrize(
    ("late", "due_in"),
    [("10 minutes", "50 minutes"), ("0", "60 minutes"), ("3 hours", "60 minutes")],
)
async def test_a_task_is_due_at_its_intervals_however_late_it_was_noticed(
    database: Database, connection: Connection, late: str, due_in: str
) -> None:
    task = task_of(database, "a", Step(), every_s=3600)
    await task.step()
    await connection.execute(
        "UPDATE periodic_tasks SET due_at = clock_timestamp() - $1::text::interval", late
    )
    await task.step()
    difference = await connection.fetchval(
        "SELECT due_at - clock_timestamp() - $1::text::interval FROM periodic_tasks", due_in
    )
    assert abs(difference.total_seconds()) < 30


async def test_a_task_whose_row_is_gone_is_done_again(
    database: Database, connection: Connection
) -> None:
    """As after a restore, while workers run."""
    step = Step()
    task = task_of(database, "worker a", step)
    await task.step()
    await connection.execute("DELETE FROM periodic_tasks")
    await task.step()
    await task.step()
    assert step.runs == 2
