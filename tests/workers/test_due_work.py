"""Due work: one statement finds which tasks of a worker have something to do."""

from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.models import Export
from app.ports import Lane
from app.webhooks.endpoints import register_endpoint
from workers.due_work import DUE_MAILS, DUE_WEBHOOKS, WAITING_EXPORTS, DueWork
from workers.fleet_tasks import FleetTasks

Ask = Callable[..., Awaitable[Export]]

FLEET_TASKS = ("expire files", "delete orphans")
ALL = {WAITING_EXPORTS, DUE_MAILS, DUE_WEBHOOKS, *FLEET_TASKS}

DELIVERY = """
    INSERT INTO webhook_deliveries (seller_id, export_id, service, body)
    VALUES (1, uuidv7(), 'storefront', '{}')
"""


class Worker:
    """The due work of a worker whose slots are free, but for those of the lanes not named."""

    def __init__(self, database: Database, *lanes: Lane) -> None:
        self._work = DueWork(database, lambda: lanes)
        for name in FLEET_TASKS:
            self._work.fleet_event(name)

    async def due(self) -> set[str]:
        """Poll once, and return the tasks whose events are set."""
        await self._work.poll()
        return set(self._set())

    def _set(self) -> Iterator[str]:
        for name in ALL:
            event = self._work.event(name)
            if event.is_set():
                yield name
                event.clear()


@pytest.fixture
def worker(database: Database) -> Worker:
    """A worker that serves both lanes."""
    return Worker(database, "small", "large")


@pytest.fixture(autouse=True)
async def fleet(database: Database) -> FleetTasks:
    """Another worker, which has just begun all fleet tasks."""
    fleet = FleetTasks(database, "other", lease_s=30)
    for name in FLEET_TASKS:
        assert await fleet.claim(name)
    return fleet


async def test_an_idle_service_has_nothing_due(worker: Worker) -> None:
    assert await worker.due() == set()


async def test_a_queued_export_is_due_while_its_lane_has_a_slot(
    worker: Worker, database: Database, create_export: Ask
) -> None:
    await create_export()
    assert await worker.due() == {WAITING_EXPORTS}
    assert await Worker(database, "small").due() == {WAITING_EXPORTS}
    assert await Worker(database, "large").due() == set()
    assert await Worker(database).due() == set()


async def test_an_export_that_is_retried_later_is_not_due(
    worker: Worker, create_export: Ask, connection: Connection
) -> None:
    await create_export()
    await connection.execute("UPDATE exports SET due_at = now() + interval '1 minute'")
    assert await worker.due() == set()


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ("email_due_at = now()", {DUE_MAILS}),
        ("email_due_at = now() + interval '1 minute'", set()),
        ("email_due_at = now(), expires_at = now()", set()),
        ("email_status = 'sent'", set()),
    ],
)
async def test_a_mail_is_due_once_its_time_has_come(
    worker: Worker, create_export: Ask, connection: Connection, change: str, due: set[str]
) -> None:
    await create_export()
    await connection.execute("UPDATE exports SET status = 'succeeded', email_status = 'pending'")
    await connection.execute(f"UPDATE exports SET {change}")
    assert await worker.due() == due


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ("UPDATE webhook_deliveries SET due_at = now()", {DUE_WEBHOOKS}),
        ("UPDATE webhook_deliveries SET due_at = now() + interval '1 minute'", set()),
        ("UPDATE webhook_deliveries SET status = 'delivered'", set()),
        ("UPDATE webhook_endpoints SET disabled_at = now()", set()),
        ("DELETE FROM webhook_endpoints", set()),
    ],
)
async def test_a_webhook_is_due_once_its_time_has_come(
    worker: Worker, database: Database, connection: Connection, change: str, due: set[str]
) -> None:
    await register_endpoint(database, "storefront", "https://shop.example")
    await connection.execute(DELIVERY)
    await connection.execute(change)
    assert await worker.due() == due


async def test_what_may_not_be_asked_counts_as_due_and_hides_nothing_else(
    worker: Worker, create_export: Ask, connection: Connection
) -> None:
    await create_export()
    await connection.execute("ALTER TABLE webhook_endpoints RENAME TO away")
    assert await worker.due() == {WAITING_EXPORTS, DUE_WEBHOOKS}
    await connection.execute("ALTER TABLE periodic_tasks RENAME TO away_too")
    assert await worker.due() == {WAITING_EXPORTS, DUE_WEBHOOKS, *FLEET_TASKS}
    await connection.execute("ALTER TABLE exports RENAME TO all_away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await worker.due()


async def test_a_fleet_task_is_due_when_its_row_says_so_or_is_missing(
    worker: Worker, fleet: FleetTasks, connection: Connection
) -> None:
    await fleet.fail("expire files", retry_s=0)
    assert await worker.due() == {"expire files"}
    await connection.execute("DELETE FROM periodic_tasks WHERE name = 'delete orphans'")
    assert await worker.due() == set(FLEET_TASKS)
