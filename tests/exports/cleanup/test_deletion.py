"""Deleting: final at once from every state, while any process works on the export or hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import (
    ExportNotFound,
    ExportNotReady,
    FileRemains,
    StorageRefused,
    StorageUnavailable,
)
from app.exports.cleanup.attempt_cleanup import AttemptCleaner, AttemptCleanup
from app.exports.cleanup.deletion import delete_export
from app.exports.delivery.resend import resend_email
from app.exports.execution.exporter import Exporter
from app.exports.metrics import read_export_gauges
from app.models import Export
from tests.audience.storefront import Storefront
from tests.exports.conftest import reload
from tests.fakes import MemoryStorage, fails, nothing
from tests.polling import until

Ask = Callable[..., Awaitable[Export]]
Delete = Callable[[Export], Awaitable[Export]]

READING = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE application_name LIKE 'export %' AND state = 'active'
    AND datname = current_database()
"""


@pytest.fixture
def delete(database: Database, attempt_cleaner: AttemptCleaner) -> Delete:
    """Delete one of seller 1's exports."""

    async def delete(export: Export) -> Export:
        return await delete_export(database, attempt_cleaner, export.id, seller_id=1)

    return delete


@pytest.fixture
async def succeeded(create_export: Ask, exporter: Exporter) -> Export:
    """An export with a file."""
    export = await create_export()
    running = await exporter.claim(export.key)
    assert running is not None
    ended = (await exporter.run(running)).export
    assert ended is not None
    return ended


async def stay(_method: str) -> None:
    """A store that never answers."""
    await asyncio.Event().wait()


async def test_a_queued_export_is_cancelled_and_never_runs(
    create_export: Ask, delete: Delete, exporter: Exporter
) -> None:
    ended = await delete(await create_export())
    assert (ended.status, ended.email_status) == ("cancelled", None)
    assert ended.finished_at is not None
    assert await exporter.claim(ended.key) is None


async def test_a_running_export_is_cancelled_and_never_succeeds(
    create_export: Ask,
    delete: Delete,
    exporter: Exporter,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
    database: Database,
) -> None:
    export = await create_export()
    running = await exporter.claim(export.key)
    assert running is not None
    storage.before = stay
    working = asyncio.create_task(exporter.run(running))
    assert (await delete(export)).status == "cancelled"
    async with asyncio.timeout(3):
        assert (await working).export is None
    storage.before = nothing
    await attempt_cleanup.clean_up_failed_attempts()
    assert (storage.objects, storage.uploads) == ({}, {})
    now = await reload(database, export)
    assert (now.status, now.email_status) == ("cancelled", None)


async def test_a_cancel_between_the_last_byte_and_the_record_wins(
    create_export: Ask,
    delete: Delete,
    exporter: Exporter,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
) -> None:
    export = await create_export()
    running = await exporter.claim(export.key)
    assert running is not None

    async def cancel_first(method: str) -> None:
        if method == "put":
            await delete(export)

    storage.before = cancel_first
    assert (await exporter.run(running)).export is None
    await attempt_cleanup.clean_up_failed_attempts()
    assert storage.objects == {}


async def test_a_running_read_ends_on_the_server_even_if_its_worker_is_frozen(
    create_export: Ask,
    delete: Delete,
    exporter: Exporter,
    connection: Connection,
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co")
    export = await create_export()
    running = await exporter.claim(export.key)
    assert running is not None

    async def is_reading() -> bool:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        return bool(await connection.fetchval(READING))

    async def is_not_reading() -> bool:
        return not await is_reading()

    async with connection.transaction():
        await connection.execute("LOCK TABLE audience_members IN ACCESS EXCLUSIVE MODE")
        working = asyncio.create_task(exporter.run(running))
        await until(is_reading)
        await delete(export)
        await until(is_not_reading, within_s=3)
    await working


async def test_a_finished_export_loses_its_file_at_once(
    succeeded: Export, delete: Delete, storage: MemoryStorage, connection: Connection
) -> None:
    ended = await delete(succeeded)
    assert (ended.status, ended.email_status) == ("deleted", None)
    assert storage.objects == {}
    row = await connection.fetchrow("SELECT uncleaned_attempts, object_key FROM exports")
    assert row is not None
    assert tuple(row) == ([], None)


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_file_under_an_earlier_prefix_is_erased_too(
    succeeded: Export,
    delete: Delete,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
    connection: Connection,
    is_away: bool,
) -> None:
    storage.objects["earlier/1.csv"] = storage.objects.pop(str(succeeded.object_key))
    await connection.execute("UPDATE exports SET object_key = 'earlier/1.csv'")
    if is_away:
        storage.before = fails("delete", StorageUnavailable("away"))
    await delete(succeeded)
    assert len(storage.objects) == is_away
    await attempt_cleanup.clean_up_failed_attempts()
    assert storage.objects == {}
    assert await connection.fetchval("SELECT object_key FROM exports") is None


async def test_a_mail_that_was_sent_is_not_denied(
    succeeded: Export, delete: Delete, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET email_status = 'sent'")
    assert (await delete(succeeded)).email_status == "sent"


async def test_a_failed_exports_mail_is_withdrawn(
    succeeded: Export, delete: Delete, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET status = 'failed'")
    ended = await delete(succeeded)
    assert (ended.status, ended.email_status) == ("failed", None)


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired", "deleted"])
async def test_what_has_ended_otherwise_stays_as_it_is(
    succeeded: Export, delete: Delete, connection: Connection, status: str
) -> None:
    await connection.execute("UPDATE exports SET status = $1, email_status = 'sent'", status)
    before = await connection.fetchrow("SELECT * FROM exports")
    assert (await delete(succeeded)).status == status
    assert await connection.fetchrow("SELECT * FROM exports") == before


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("away"),
        StorageRefused("denied"),
        FileRemains("still there"),
        ZeroDivisionError(),
    ],
)
async def test_an_export_is_deleted_when_its_file_is_seen_to_be_gone_and_not_before(
    succeeded: Export,
    delete: Delete,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
    database: Database,
    error: Exception,
) -> None:
    storage.before = fails("delete", error)
    deleting = await delete(succeeded)
    assert (deleting.status, deleting.is_being_deleted, deleting.email_status) == (
        "succeeded",
        True,
        None,
    )
    assert len(storage.objects) == 1
    await attempt_cleanup.clean_up_failed_attempts()
    assert storage.objects == {}
    now = await reload(database, succeeded)
    assert (now.status, now.object_key, now.is_being_deleted) == ("deleted", None, False)


async def test_a_file_that_the_store_keeps_is_tried_again_and_holds_up_nothing_else(
    succeeded: Export,
    create_export: Ask,
    exporter: Exporter,
    delete: Delete,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
    database: Database,
    connection: Connection,
) -> None:
    async def keep(method: str) -> None:
        if method == "delete":
            raise FileRemains("still there")

    storage.before = keep
    await delete(succeeded)
    other = await create_export(recipient_email="other@example.com")
    await connection.execute(
        "UPDATE exports SET uncleaned_attempts = '{7}' WHERE id = $1", other.id
    )
    for _ in range(3):
        assert await attempt_cleanup.clean_up_failed_attempts() == 2
    assert (await reload(database, succeeded)).is_being_deleted
    storage.before = nothing
    await attempt_cleanup.clean_up_failed_attempts()
    assert (await reload(database, succeeded)).status == "deleted"
    assert await attempt_cleanup.clean_up_failed_attempts() == 0


async def test_deleting_again_tries_again(
    succeeded: Export, delete: Delete, storage: MemoryStorage, connection: Connection
) -> None:
    storage.before = fails("delete", StorageUnavailable("away"))
    assert (await delete(succeeded)).status == "succeeded"
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [
        succeeded.attempt
    ]
    assert (await delete(succeeded)).status == "deleted"


async def test_a_file_that_is_being_deleted_is_not_mailed_again(
    succeeded: Export, delete: Delete, storage: MemoryStorage, database: Database
) -> None:
    storage.before = fails("delete", StorageUnavailable("away"))
    await delete(succeeded)
    with pytest.raises(ExportNotReady, match="being deleted"):
        await resend_email(database, succeeded.id, 1)


async def test_the_oldest_file_that_remains_is_reported(
    succeeded: Export,
    delete: Delete,
    storage: MemoryStorage,
    attempt_cleanup: AttemptCleanup,
    database: Database,
    connection: Connection,
) -> None:
    async def remaining_s() -> object:
        return (await read_export_gauges(database))["oldest_remaining_file_seconds"]

    assert await remaining_s() == 0
    await connection.execute("UPDATE exports SET expires_at = now() - interval '1 hour'")
    assert await remaining_s() == pytest.approx(3600, abs=60)
    await connection.execute("UPDATE exports SET expires_at = now() + interval '1 hour'")
    storage.before = fails("delete", StorageUnavailable("away"))
    await delete(succeeded)
    await connection.execute(
        "UPDATE exports SET deletion_requested_at = deletion_requested_at - interval '2 hours'"
    )
    assert await remaining_s() == pytest.approx(7200, abs=60)
    await attempt_cleanup.clean_up_failed_attempts()
    assert await remaining_s() == 0


async def test_a_store_that_hangs_keeps_nobody_waiting(
    succeeded: Export, delete: Delete, storage: MemoryStorage
) -> None:
    storage.before = stay
    async with asyncio.timeout(5):
        assert (await delete(succeeded)).is_being_deleted


async def test_deleting_many_times_at_once_is_deleting_once(
    succeeded: Export, delete: Delete, storage: MemoryStorage
) -> None:
    ended = await asyncio.gather(*(delete(succeeded) for _ in range(8)))
    assert {export.status for export in ended} == {"deleted"}
    assert storage.objects == {}


async def test_anothers_export_is_unknown(
    succeeded: Export, database: Database, attempt_cleaner: AttemptCleaner
) -> None:
    for export_id, seller_id in ((succeeded.id, 2), (uuid4(), 1), (uuid4(), None)):
        with pytest.raises(ExportNotFound):
            await delete_export(database, attempt_cleaner, export_id, seller_id)


async def test_who_speaks_for_all_sellers_may_delete_any(
    succeeded: Export, database: Database, attempt_cleaner: AttemptCleaner
) -> None:
    ended = await delete_export(database, attempt_cleaner, succeeded.id, seller_id=None)
    assert ended.status == "deleted"
