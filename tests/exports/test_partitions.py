"""Exports where every table of sellers is partitioned, the table of exports too."""

from collections.abc import Awaitable, Callable

import pytest

from app.database.connections import Connection, connect
from app.database.database import Database
from app.exports.cleanup.attempt_cleanup import AttemptCleanup
from app.exports.cleanup.expiry import ExpirationTask
from app.exports.execution.exporter import Exporter
from app.exports.queue.recovery import QueueRecovery
from app.models import Export
from tests.audience.partitions import partitioned, printed
from tests.audience.storefront import Storefront
from tests.fakes import MemoryExportEvents, MemoryStorage

Ask = Callable[..., Awaitable[Export]]

MEMBERS = 120_000
"""Enough to be read in ranges by two streams."""

LARGE = f"""
    INSERT INTO audience_members (seller_id, email, follower_since)
    SELECT 2, 'fan.' || n || '@x.co', '2026-03-01Z' FROM generate_series(1, {MEMBERS}) AS n
"""


@pytest.fixture
async def database_url(empty_database_url: str) -> str:
    """The address of a database at the newest schema, partitioned."""
    connection = await connect(empty_database_url)
    await connection.execute(partitioned(printed("upgrade", "head", "--sql")))
    await connection.close()
    return empty_database_url


async def performed(exporter: Exporter, export: Export) -> Export:
    claimed = await exporter.claim_next(export.lane)
    assert claimed is not None
    ended = (await exporter.run(claimed)).export
    assert ended is not None
    return ended


async def test_an_export_runs_from_its_request_to_its_file(
    create_export: Ask,
    exporter: Exporter,
    storage: MemoryStorage,
    storefront: Storefront,
    recovery: QueueRecovery,
    attempt_cleanup: AttemptCleanup,
) -> None:
    for seller_id in range(1, 5):
        await storefront.follow(f"fan{seller_id}@x.co", seller_id=seller_id)
        ended = await performed(
            exporter, await create_export(seller_id=seller_id, columns=("email",))
        )
        assert (ended.status, ended.file_rows) == ("succeeded", 1)
        content = storage.objects[str(ended.object_key)]
        assert content == f"Email\nfan{seller_id}@x.co\n".encode()
    held = "SELECT count(DISTINCT tableoid) FROM exports"
    assert await storefront.connection.fetchval(held) > 1
    await recovery.reclaim_expired_leases()
    await attempt_cleanup.clean_up_failed_attempts()


async def test_only_what_is_old_is_deleted_wherever_its_row_is(
    database: Database,
    storage: MemoryStorage,
    export_events: MemoryExportEvents,
    connection: Connection,
) -> None:
    await connection.execute("""
        INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
        SELECT n, 'key', '', uuidv7(), clock_timestamp() - n % 2 * interval '2 days'
        FROM generate_series(1, 60) AS n
    """)
    await ExpirationTask(database, storage, export_events).prune()
    left = await connection.fetch("SELECT seller_id FROM idempotency_keys ORDER BY 1")
    assert [row["seller_id"] for row in left] == list(range(2, 61, 2))


async def test_a_large_list_is_read_in_ranges_and_whole(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, connection: Connection
) -> None:
    await connection.execute(LARGE)
    await connection.execute("ANALYZE audience_members")
    ended = await performed(exporter, await create_export(seller_id=2, columns=("email",)))
    header, *emails = storage.objects[str(ended.object_key)].decode().splitlines()
    assert (header, len(emails)) == ("Email", MEMBERS)
    assert emails == sorted(set(emails))
