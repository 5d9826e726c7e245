"""One attempt: its file, its lease, its end, and what it leaves behind."""

import asyncio
from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import StorageRefused, StorageUnavailable
from app.exports.cleanup.attempt_cleanup import AttemptCleanup
from app.exports.execution.exporter import Exporter
from app.models import Export
from app.ports import ExportJob
from tests.audience.storefront import CUT, Storefront
from tests.exports.conftest import reload
from tests.fakes import MemoryExportEvents, MemoryQueue, MemoryStorage, fails
from tests.polling import until
from tests.workbooks import opened

Ask = Callable[..., Awaitable[Export]]


async def claimed(exporter: Exporter, export: Export) -> Export:
    """Claim an export that must be there to claim."""
    taken = await exporter.claim(export.key)
    assert taken is not None
    return taken


async def test_an_export_succeeds_with_exact_rows_and_bytes(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    body = f"Email,Subscribed At (UTC)\nann@x.co,{CUT:%Y-%m-%d %H:%M:%S}\n".encode()
    assert list(storage.objects.values()) == [body]
    assert (ended.status, ended.file_rows, ended.file_bytes) == ("succeeded", 1, len(body))
    assert ended.file_name == f"audience-1-{ended.snapshot_at:%Y-%m-%d}.csv"
    assert storage.names == {ended.object_key: ended.file_name}
    assert ended.email_status == "pending"


async def test_zero_rows_are_a_file_with_its_header(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    assert (ended.status, ended.file_rows) == ("succeeded", 0)
    assert list(storage.objects.values()) == [b"Email,Subscribed At (UTC)\n"]


async def test_a_workbook_has_its_extension_and_exact_rows_and_bytes(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    await storefront.follow("=ann@x.co")
    asked = await create_export(format="xlsx", timezone="Asia/Kolkata")
    ended = (await exporter.run(await claimed(exporter, asked))).export
    assert ended is not None
    [(key, body)] = storage.objects.items()
    local = CUT.astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None)
    assert opened(bytes(body)).rows == {
        "Audience": [("Email", "Subscribed At (Asia/Kolkata)"), ("=ann@x.co", local)]
    }
    assert (ended.status, ended.file_rows, ended.file_bytes) == ("succeeded", 1, len(body))
    assert ended.object_key == key
    assert key.endswith("/1.xlsx")
    assert ended.file_name == f"audience-1-{ended.snapshot_at:%Y-%m-%d}.xlsx"
    assert storage.names == {key: ended.file_name}


async def test_a_workbook_of_zero_rows_has_its_headings(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    asked = await create_export(format="xlsx")
    ended = (await exporter.run(await claimed(exporter, asked))).export
    assert ended is not None
    [body] = storage.objects.values()
    assert opened(bytes(body)).rows == {"Audience": [("Email", "Subscribed At (UTC)")]}
    assert (ended.status, ended.file_rows) == ("succeeded", 0)


async def test_only_one_of_many_claims_wins(create_export: Ask, exporter: Exporter) -> None:
    export = await create_export()
    claims = (exporter.claim(export.key) for _ in range(10))
    taken = [each for each in await asyncio.gather(*claims) if each is not None]
    assert [each.attempt for each in taken] == [1]


async def test_the_file_is_one_snapshot_while_rows_change(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    for number in range(50):
        await storefront.follow(f"{number:02}@x.co")
    export = await claimed(exporter, await create_export())
    gate = asyncio.Event()

    async def wait_before(method: str) -> None:
        if method == "put":
            await gate.wait()

    storage.before = wait_before
    running = asyncio.create_task(exporter.run(export))
    await storefront.connection.execute("DELETE FROM followers WHERE email < '25'")
    gate.set()
    ended = (await running).export
    assert ended is not None
    (body,) = storage.objects.values()
    assert ended.file_rows in (25, 50)
    assert body.count(b"\n") == ended.file_rows + 1


async def test_a_temporary_error_queues_the_export_again(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, connection: Connection
) -> None:
    storage.before = fails("put", StorageUnavailable("The file storage is unavailable."))
    export = await create_export()
    ended = (await exporter.run(await claimed(exporter, export))).export
    assert ended is not None
    assert (ended.status, ended.failures, ended.error_code) == ("queued", 0, "storage_unavailable")
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1]
    await asyncio.sleep(0.01)
    again = (await exporter.run(await claimed(exporter, export))).export
    assert again is not None
    assert (again.status, again.attempt) == ("succeeded", 2)


async def test_temporary_errors_that_last_too_long_end_the_export(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, fast_settings: Settings
) -> None:
    storage.before = fails("put", StorageUnavailable("The file storage is unavailable."), times=99)
    export = await create_export()
    for _ in range(fast_settings.max_failures):
        ended = (await exporter.run(await claimed(exporter, export))).export
        await asyncio.sleep(0.01)
    assert ended is not None
    assert (ended.status, ended.error_code) == ("failed", "storage_unavailable")
    assert ended.error_detail is not None
    assert "ask for the export again later" in ended.error_detail
    assert ended.email_status == "pending"
    assert ended.finished_at is not None


async def test_a_final_error_ends_the_export_at_once(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    storage.before = fails("put", StorageRefused("The bucket does not exist."))
    ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("failed", "storage_refused")
    assert ended.error_detail is not None
    assert ended.error_detail.startswith("The bucket does not exist. Only the operator")


async def test_an_unexpected_error_is_a_failure_too(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    async def break_(method: str) -> None:
        if method == "put":
            raise ZeroDivisionError

    storage.before = break_
    ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "internal")


async def test_a_worker_that_lost_its_lease_changes_nothing_and_leaves_nothing(
    create_export: Ask,
    exporter: Exporter,
    storage: MemoryStorage,
    connection: Connection,
    database: Database,
    attempt_cleanup: AttemptCleanup,
) -> None:
    export = await claimed(exporter, await create_export())

    async def overtake(method: str) -> None:
        if method == "put":
            await connection.execute("UPDATE exports SET attempt = attempt + 1, worker = 'other'")

    storage.before = overtake
    assert (await exporter.run(export)).export is None
    await attempt_cleanup.clean_up_failed_attempts()
    assert storage.objects == {}
    now = await reload(database, export)
    assert (now.status, now.attempt) == ("running", 2)


async def test_the_heartbeat_notices_a_lost_lease_while_the_store_is_slow(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, connection: Connection
) -> None:
    export = await claimed(exporter, await create_export())

    async def stay(method: str) -> None:
        if method == "put":
            await connection.execute("UPDATE exports SET status = 'cancelled'")
            await asyncio.Event().wait()

    storage.before = stay
    async with asyncio.timeout(5):
        assert (await exporter.run(export)).export is None


async def test_the_heartbeat_renews_the_lease_and_tells_the_progress(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    gate = asyncio.Event()

    async def wait_before(method: str) -> None:
        if method == "put":
            await gate.wait()

    storage.before = wait_before
    running = asyncio.create_task(exporter.run(await claimed(exporter, await create_export())))
    query = """
        SELECT rows_exported = 1 AND lease_expires_at > started_at + interval '0.5 s'
        FROM exports
    """
    await until(lambda: storefront.connection.fetchval(query))
    gate.set()
    assert await running is not None


async def test_a_stalled_stream_is_a_temporary_error(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    async def stay(method: str) -> None:
        if method == "put":
            await asyncio.Event().wait()

    storage.before = stay
    async with asyncio.timeout(5):
        ended = (await exporter.run(await claimed(exporter, await create_export()))).export
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "stream_stalled")


async def test_an_export_that_always_takes_too_long_ends_whatever_number_of_attempts_it_has_left(
    create_export: Ask,
    database: Database,
    storage: MemoryStorage,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    fast_settings: Settings,
    connection: Connection,
) -> None:
    limits = {"export_timeout_s": 0.4, "retry_max_age_s": 0.2, "max_failures": 99}
    settings = fast_settings.model_copy(update=limits | {"stall_timeout_s": 60})
    exporter = Exporter(database, database, storage, queue, export_events, settings, "tests")
    export = await create_export()
    async with connection.transaction():
        await connection.execute("LOCK TABLE audience_members IN ACCESS EXCLUSIVE MODE")
        for _ in range(99):
            ended = (await exporter.run(await claimed(exporter, export))).export
            assert ended is not None
            export = ended
            if not export.is_active:
                break
            await until(lambda: _is_waiting(database))
    assert (export.status, export.error_code) == ("failed", "stream_stalled")
    assert export.attempt <= 2  # the second begins after 0.4 s at least, and ends after 0.8


async def _is_waiting(database: Database) -> bool:
    row = await database.fetchrow("SELECT due_at <= statement_timestamp() AS is_due FROM exports")
    return row is not None and row["is_due"]


async def test_a_cancelled_worker_hands_its_export_back(
    create_export: Ask,
    exporter: Exporter,
    storage: MemoryStorage,
    queue: MemoryQueue,
    database: Database,
) -> None:
    begun = asyncio.Event()

    async def stay(method: str) -> None:
        if method == "put":
            begun.set()
            await asyncio.Event().wait()

    storage.before = stay
    export = await claimed(exporter, await create_export())
    running = asyncio.create_task(exporter.run(export))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    now = await reload(database, export)
    assert (now.status, now.failures) == ("queued", 0)
    assert queue.jobs == [ExportJob(export.seller_id, export.id, 1)]


async def test_a_cancelled_export_ends_its_session_on_the_server(
    create_export: Ask, exporter: Exporter, connection: Connection, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    export = await claimed(exporter, await create_export())

    async def is_reading() -> bool:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        return bool(
            await connection.fetchval("""
                SELECT count(*) FROM pg_stat_activity
                WHERE application_name LIKE 'export %' AND state = 'active'
            """)
        )

    async def is_not_reading() -> bool:
        return not await is_reading()

    async with connection.transaction():
        await connection.execute("LOCK TABLE audience_members IN ACCESS EXCLUSIVE MODE")
        running = asyncio.create_task(exporter.run(export))
        await until(is_reading)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until(is_not_reading)


async def test_a_success_whose_answer_was_lost_is_a_success(
    create_export: Ask, exporter: Exporter, storage: MemoryStorage, database: Database
) -> None:
    """The commit went through, its confirmation did not: the repetition finds the row ended."""
    export = await claimed(exporter, await create_export())
    first = (await exporter.run(export)).export
    assert first is not None
    again = (await exporter.run(export)).export
    assert again is not None
    assert (again.status, again.object_key) == ("succeeded", first.object_key)
    assert list(storage.objects) == [first.object_key]
