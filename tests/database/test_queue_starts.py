"""Claims do not read what vacuum cannot remove: dead entries before the start of a queue."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.config import Settings
from app.database.connections import Connection, connect
from app.database.database import Database
from app.database.queue_starts import advance_queue_starts
from app.database.statements import compile_statement
from app.exports.delivery.outbox import CLAIM_DUE
from app.exports.execution.exporter import Exporter
from app.exports.queue.leases import CLAIM_NEXT, WAITING_LANES, LeaseStore
from app.models import Export
from app.webhooks import deliveries
from app.webhooks.endpoints import register_endpoint
from workers.due_work import DUE_TASKS

Ask = Callable[..., Awaitable[Export]]

FINISHED = 3000

BUFFERS_MAX = 100
"""A claim reads some dozens of pages. Each dead entry, of which no two neighbours are on one page
of the table, costs one more."""

FINISH = """
    INSERT INTO exports (
        seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, fingerprint,
        queue_order_at, email_status, email_due_at
    )
    SELECT
        number, '{follower}', '{email}', true, false, 's@example.com', int8send(number),
        due_at, 'pending', due_at
    FROM generate_series(1000, 999 + $1::int) AS number
    CROSS JOIN LATERAL (
        SELECT now() - interval '1 hour' - abs(hashint4(number)::bigint) * interval '1 microsecond'
            AS due_at
    ) AS at
"""

DELIVER = """
    INSERT INTO webhook_deliveries (seller_id, export_id, service, body, due_at)
    SELECT seller_id, id, 'storefront', repeat('x', 1000), email_due_at
    FROM exports
"""

POLLS: dict[str, tuple[str, dict[str, Any]]] = {
    "claim": (CLAIM_NEXT, {"lane": "small", "worker": "tests", "lease_s": 30}),
    "look": (WAITING_LANES, {"lanes": ["small", "large"]}),
    "mails": (CLAIM_DUE, {"limit": 8, "lease_s": 60}),
    "webhooks": (
        deliveries.CLAIM_DUE,
        {"busy_services": [], "calls": [], "slots": 8, "lease_s": 60},
    ),
    "poll": (DUE_TASKS, {"lanes": ["small", "large"], "fleet_tasks": []}),
}


@pytest.fixture
async def finished(
    connection: Connection, database: Database, database_url: str
) -> AsyncIterator[None]:
    """Exports, mails and webhooks that have ended since someone took a snapshot and holds it."""
    reader = await connect(database_url)
    async with reader.transaction(isolation="repeatable_read"):
        await reader.fetchval("SELECT count(*) FROM exports")
        await connection.execute(FINISH, FINISHED)
        await register_endpoint(database, "storefront", "https://shop.example")
        await connection.execute(DELIVER)
        await connection.execute("UPDATE webhook_deliveries SET status = 'delivered'")
        await connection.execute("UPDATE exports SET status = 'succeeded', email_status = 'sent'")
        await connection.execute("ANALYZE exports, webhook_deliveries")
        yield
    await reader.close()


async def buffers(connection: Connection, sql: str, values: dict[str, object]) -> int:
    """Return how many pages a statement reads, and undo it."""
    statement = compile_statement(sql)
    arguments = [values[name] for name in statement.parameters]
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}"
    undone = connection.transaction()
    await undone.start()
    [found] = json.loads(await connection.fetchval(explain, *arguments))
    await undone.rollback()
    plan = found["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(("sql", "values"), POLLS.values(), ids=POLLS)
async def test_a_long_snapshot_does_not_slow_down_claims(
    database: Database, connection: Connection, sql: str, values: dict[str, object]
) -> None:
    assert await buffers(connection, sql, values) > FINISHED / 2  # what every claim would read
    await advance_queue_starts(database)
    assert await buffers(connection, sql, values) < BUFFERS_MAX


async def test_what_was_queued_before_the_start_moves_it_back(
    database: Database, create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    await advance_queue_starts(database)
    late = await create_export()
    await connection.execute("UPDATE exports SET queue_order_at = now() - interval '1 hour'")
    assert await exporter.claim_next("small") is None
    assert await exporter.waiting_lanes(["small"]) == []
    await advance_queue_starts(database)
    assert await exporter.waiting_lanes(["small"]) == ["small"]
    claimed = await exporter.claim_next("small")
    assert claimed is not None
    assert claimed.id == late.id


async def claim_queued_an_hour_ago(
    create_export: Ask, leases: LeaseStore, connection: Connection
) -> Export:
    """Claim an export that was queued an hour ago."""
    await create_export()
    await connection.execute("UPDATE exports SET queue_order_at = now() - interval '1 hour'")
    claimed = await leases.claim_next("small")
    assert claimed is not None
    return claimed


async def test_an_export_that_is_handed_back_is_next_at_once(
    database: Database, create_export: Ask, leases: LeaseStore, connection: Connection
) -> None:
    running = await claim_queued_an_hour_ago(create_export, leases, connection)
    await advance_queue_starts(database)
    await create_export(seller_id=2)
    await leases.release(running)
    again = await leases.claim_next("small")
    assert again is not None
    assert again.id == running.id


async def test_an_export_that_is_handed_back_hides_nobody_before_it(
    database: Database, create_export: Ask, leases: LeaseStore, connection: Connection
) -> None:
    running = await claim_queued_an_hour_ago(create_export, leases, connection)
    before = await create_export(seller_id=2)
    await connection.execute(
        "UPDATE exports SET queue_order_at = now() - interval '2 hours' WHERE seller_id = 2"
    )
    await advance_queue_starts(database)
    await leases.release(running)
    claimed = await leases.claim_next("small")
    assert claimed is not None
    assert claimed.id == before.id


async def test_what_waits_at_the_very_start_is_found(
    database: Database, create_export: Ask, leases: LeaseStore, connection: Connection
) -> None:
    await create_export()
    await create_export(seller_id=2)
    await connection.execute("UPDATE exports SET queue_order_at = now() - interval '1 hour'")
    await advance_queue_starts(database)
    assert await leases.waiting_lanes(["small"]) == ["small"]
    assert await leases.claim_next("small") is not None


@pytest.mark.parametrize("poll", ["mails", "webhooks"])
async def test_a_mail_or_call_at_the_very_start_is_found(
    database: Database, connection: Connection, poll: str
) -> None:
    await register_endpoint(database, "storefront", "https://shop.example")
    await connection.execute(FINISH, 1)
    await connection.execute(DELIVER)
    await advance_queue_starts(database)
    sql, values = POLLS[poll]
    assert len(await database.fetch(sql, **values)) == 1


@pytest.fixture
def leases(database: Database, settings: Settings) -> LeaseStore:
    """A worker's leases."""
    return LeaseStore(database, settings, worker="tests")


async def test_exports_are_vacuumed_eagerly(connection: Connection) -> None:
    options = await connection.fetchval(
        "SELECT reloptions FROM pg_class WHERE oid = 'exports'::regclass"
    )
    assert "autovacuum_vacuum_scale_factor=0.005" in options
