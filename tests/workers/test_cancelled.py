"""DELETE while a worker is at it, with the settings that an installation has."""

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from app.models import Export
from devstack.s3 import Store
from tests.fakes import MemoryStorage
from tests.polling import until
from tests.proxy import Hang, Proxy
from tests.workers.conftest import QUICK, Ask, WorkerHarness

FINAL_S = 3

SESSIONS = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE application_name LIKE 'export %' AND datname = current_database()
"""


async def test_a_running_export_ends_everywhere_within_seconds(
    harness: WorkerHarness,
    create_export: Ask,
    database: Database,
    settings: Settings,
    connection: Connection,
    store_proxy: Proxy,
    far_store: dict[str, str],
    moto_store: Store,
) -> None:
    await connection.execute("""
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT 1, repeat('a', 220) || number || '@x.co', now(), now()
        FROM generate_series(1, 120000) AS number
    """)
    usual = {name: str(Settings.model_fields[name.lower()].get_default()) for name in QUICK}
    store_proxy.fault(Hang(), on=rb"partNumber=1", times=None)
    small_parts = {"PART_BYTES": str(5 * 1024 * 1024), "PARTS_IN_FLIGHT": "1"}
    await harness.start(**far_store, **usual, **small_parts)
    export = await create_export()

    async def is_uploading() -> bool:
        return store_proxy.count(rb"partNumber=1") > 0 and await connection.fetchval(SESSIONS) > 0

    async def is_over() -> bool:
        return await connection.fetchval(SESSIONS) == 0 and uploads(moto_store) == 0

    await until(is_uploading)
    cancelled = await cancel(database, settings, export)
    assert cancelled.status == "cancelled"
    await until(is_over, within_s=FINAL_S)


async def cancel(database: Database, settings: Settings, export: Export) -> Export:
    """Delete an export as the API does."""
    attempt_cleaner = AttemptCleaner(database, database, MemoryStorage(), settings)
    return await delete_export(database, attempt_cleaner, export.id, export.seller_id)


def uploads(store: Store) -> int:
    """Count the uploads that are open."""
    with store.client() as client:
        return len(client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", []))
