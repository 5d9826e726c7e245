"""Deleting: final at once from every state, whoever works on the export or hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from app.errors import ExportNotFound, StorageUnavailable
from app.exports.deletion import delete_export
from app.exports.exporter import Exporter
from app.exports.residue import Residue
from app.exports.sweep import Sweep
from app.models import Export
from tests.audience.storefront import Storefront
from tests.exports.conftest import reread
from tests.fakes import MemoryStorage, fails, nothing
from tests.waiting import until

Ask = Callable[..., Awaitable[Export]]
Delete = Callable[[Export], Awaitable[Export]]

READING = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE application_name LIKE 'export %' AND state = 'active'
    AND datname = current_database()
"""


@pytest.fixture
def delete(engine: AsyncEngine, residue: Residue) -> Delete:
    """Delete one of seller 1's exports."""

    async def delete(export: Export) -> Export:
        return await delete_export(engine, residue, export.id, seller_id=1)

    return delete


@pytest.fixture
async def succeeded(ask: Ask, exporter: Exporter) -> Export:
    """An export with a file."""
    export = await ask()
    running = await exporter.claim(export.seller_id, export.id)
    assert running is not None
    ended = await exporter.run(running)
    assert ended is not None
    return ended


async def stay(_method: str) -> None:
    """A store that never answers."""
    await asyncio.Event().wait()


async def test_a_queued_export_is_cancelled_and_never_runs(
    ask: Ask, delete: Delete, exporter: Exporter
) -> None:
    ended = await delete(await ask())
    assert (ended.status, ended.email_status) == ("cancelled", None)
    assert ended.finished_at is not None
    assert await exporter.claim(ended.seller_id, ended.id) is None


async def test_a_running_export_is_cancelled_and_never_succeeds(
    ask: Ask,
    delete: Delete,
    exporter: Exporter,
    storage: MemoryStorage,
    sweep: Sweep,
    engine: AsyncEngine,
) -> None:
    export = await ask()
    running = await exporter.claim(export.seller_id, export.id)
    assert running is not None
    storage.before = stay
    working = asyncio.create_task(exporter.run(running))
    assert (await delete(export)).status == "cancelled"
    async with asyncio.timeout(3):
        assert await working is None
    storage.before = nothing
    await sweep.clear_residue()
    assert (storage.objects, storage.uploads) == ({}, {})
    now = await reread(engine, export)
    assert (now.status, now.email_status) == ("cancelled", None)


async def test_a_cancel_between_the_last_byte_and_the_record_wins(
    ask: Ask, delete: Delete, exporter: Exporter, storage: MemoryStorage, sweep: Sweep
) -> None:
    export = await ask()
    running = await exporter.claim(export.seller_id, export.id)
    assert running is not None

    async def cancel_first(method: str) -> None:
        if method == "put":
            await delete(export)

    storage.before = cancel_first
    assert await exporter.run(running) is None
    await sweep.clear_residue()
    assert storage.objects == {}


async def test_a_running_read_ends_on_the_server_even_if_its_worker_is_frozen(
    ask: Ask,
    delete: Delete,
    exporter: Exporter,
    connection: Connection,
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co")
    export = await ask()
    running = await exporter.claim(export.seller_id, export.id)
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
    row = await connection.fetchrow("SELECT residue, object_key FROM exports")
    assert row is not None
    assert tuple(row) == ([], None)


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_file_under_an_earlier_prefix_is_erased_too(
    succeeded: Export,
    delete: Delete,
    storage: MemoryStorage,
    sweep: Sweep,
    connection: Connection,
    is_away: bool,
) -> None:
    storage.objects["earlier/1.csv"] = storage.objects.pop(str(succeeded.object_key))
    await connection.execute("UPDATE exports SET object_key = 'earlier/1.csv'")
    if is_away:
        storage.before = fails("delete", StorageUnavailable("away"))
    await delete(succeeded)
    assert len(storage.objects) == is_away
    await sweep.clear_residue()
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


async def test_with_the_store_away_the_sweep_erases_the_file(
    succeeded: Export, delete: Delete, storage: MemoryStorage, sweep: Sweep
) -> None:
    storage.before = fails("delete", StorageUnavailable("away"))
    assert (await delete(succeeded)).status == "deleted"
    assert len(storage.objects) == 1
    await sweep.clear_residue()
    assert storage.objects == {}


async def test_a_store_that_hangs_keeps_nobody_waiting(
    succeeded: Export, delete: Delete, storage: MemoryStorage
) -> None:
    storage.before = stay
    async with asyncio.timeout(3):
        assert (await delete(succeeded)).status == "deleted"


async def test_deleting_many_times_at_once_is_deleting_once(
    succeeded: Export, delete: Delete, storage: MemoryStorage
) -> None:
    ended = await asyncio.gather(*(delete(succeeded) for _ in range(8)))
    assert {export.status for export in ended} == {"deleted"}
    assert storage.objects == {}


async def test_anothers_export_is_unknown(
    succeeded: Export, engine: AsyncEngine, residue: Residue
) -> None:
    for export_id, seller_id in ((succeeded.id, 2), (uuid4(), 1), (uuid4(), None)):
        with pytest.raises(ExportNotFound):
            await delete_export(engine, residue, export_id, seller_id)


async def test_whoever_speaks_for_all_sellers_may_delete_any(
    succeeded: Export, engine: AsyncEngine, residue: Residue
) -> None:
    ended = await delete_export(engine, residue, succeeded.id, seller_id=None)
    assert ended.status == "deleted"
