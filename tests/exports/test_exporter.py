"""One attempt: its file, its lease, its end, and what it leaves behind."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import StorageRefused, StorageUnavailable
from app.exports.exporter import Exporter
from app.exports.sweep import Sweep
from app.models import Export
from tests.audience.storefront import CUT, Storefront
from tests.exports.conftest import reread
from tests.fakes import MemoryQueue, MemoryStorage, fails
from tests.waiting import until

Ask = Callable[..., Awaitable[Export]]


async def claimed(exporter: Exporter, export: Export) -> Export:
    """Claim an export that must be there to claim."""
    taken = await exporter.claim(export.seller_id, export.id)
    assert taken is not None
    return taken


async def test_an_export_succeeds_with_exact_rows_and_bytes(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    body = f"Email,Subscribed At (UTC)\nann@x.co,{CUT:%Y-%m-%d %H:%M:%S}\n".encode()
    assert list(storage.objects.values()) == [body]
    assert (ended.status, ended.file_rows, ended.file_bytes) == ("succeeded", 1, len(body))
    assert ended.file_name == f"audience-1-{ended.snapshot_at:%Y-%m-%d}.csv"
    assert ended.email_status == "pending"


async def test_zero_rows_are_a_file_with_its_header(
    ask: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    assert (ended.status, ended.file_rows) == ("succeeded", 0)
    assert list(storage.objects.values()) == [b"Email,Subscribed At (UTC)\n"]


async def test_only_one_of_many_claims_wins(ask: Ask, exporter: Exporter) -> None:
    export = await ask()
    claims = (exporter.claim(export.seller_id, export.id) for _ in range(10))
    taken = [each for each in await asyncio.gather(*claims) if each is not None]
    assert [each.attempt for each in taken] == [1]


async def test_the_file_is_one_snapshot_while_rows_change(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    for number in range(50):
        await storefront.follow(f"{number:02}@x.co")
    export = await claimed(exporter, await ask())
    gate = asyncio.Event()

    async def hold(method: str) -> None:
        if method == "put":
            await gate.wait()

    storage.before = hold
    running = asyncio.create_task(exporter.run(export))
    await storefront.connection.execute("DELETE FROM followers WHERE email < '25'")
    gate.set()
    ended = await running
    assert ended is not None
    (body,) = storage.objects.values()
    assert ended.file_rows in (25, 50)
    assert body.count(b"\n") == ended.file_rows + 1


async def test_a_temporary_error_queues_the_export_again(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, connection: Connection
) -> None:
    storage.before = fails("put", StorageUnavailable("The file storage is away."))
    export = await ask()
    ended = await exporter.run(await claimed(exporter, export))
    assert ended is not None
    assert (ended.status, ended.failures, ended.error_code) == ("queued", 0, "storage_unavailable")
    assert await connection.fetchval("SELECT residue FROM exports") == [1]
    await asyncio.sleep(0.01)
    again = await exporter.run(await claimed(exporter, export))
    assert again is not None
    assert (again.status, again.attempt) == ("succeeded", 2)


async def test_temporary_errors_that_last_too_long_end_the_export(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, quick: Settings
) -> None:
    storage.before = fails("put", StorageUnavailable("The file storage is away."), times=99)
    export = await ask()
    for _ in range(quick.max_failures):
        ended = await exporter.run(await claimed(exporter, export))
        await asyncio.sleep(0.01)
    assert ended is not None
    assert (ended.status, ended.error_code) == ("failed", "storage_unavailable")
    assert ended.error_detail is not None
    assert "ask for the export again later" in ended.error_detail
    assert ended.email_status == "pending"
    assert ended.finished_at is not None


async def test_a_final_error_ends_the_export_at_once(
    ask: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    storage.before = fails("put", StorageRefused("The bucket does not exist."))
    ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    assert (ended.status, ended.error_code) == ("failed", "storage_refused")
    assert ended.error_detail is not None
    assert ended.error_detail.startswith("The bucket does not exist. Only the operator")


async def test_what_nobody_foresaw_is_a_failure_too(
    ask: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    async def break_(method: str) -> None:
        if method == "put":
            raise ZeroDivisionError

    storage.before = break_
    ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "internal")


async def test_a_worker_that_lost_its_lease_changes_nothing_and_leaves_nothing(
    ask: Ask,
    exporter: Exporter,
    storage: MemoryStorage,
    connection: Connection,
    engine: AsyncEngine,
    sweep: Sweep,
) -> None:
    export = await claimed(exporter, await ask())

    async def overtake(method: str) -> None:
        if method == "put":
            await connection.execute("UPDATE exports SET attempt = attempt + 1, worker = 'other'")

    storage.before = overtake
    assert await exporter.run(export) is None
    await sweep.clear_residue()
    assert storage.objects == {}
    now = await reread(engine, export)
    assert (now.status, now.attempt) == ("running", 2)


async def test_the_heartbeat_notices_a_lost_lease_while_the_store_is_slow(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, connection: Connection
) -> None:
    export = await claimed(exporter, await ask())

    async def stay(method: str) -> None:
        if method == "put":
            await connection.execute("UPDATE exports SET status = 'cancelled'")
            await asyncio.Event().wait()

    storage.before = stay
    async with asyncio.timeout(5):
        assert await exporter.run(export) is None


async def test_the_heartbeat_renews_the_lease_and_tells_the_progress(
    ask: Ask, exporter: Exporter, storage: MemoryStorage, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    gate = asyncio.Event()

    async def hold(method: str) -> None:
        if method == "put":
            await gate.wait()

    storage.before = hold
    running = asyncio.create_task(exporter.run(await claimed(exporter, await ask())))
    query = """
        SELECT rows_exported = 1 AND lease_expires_at > started_at + interval '0.5 s'
        FROM exports
    """
    await until(lambda: storefront.connection.fetchval(query))
    gate.set()
    assert await running is not None


async def test_a_stalled_stream_is_a_temporary_error(
    ask: Ask, exporter: Exporter, storage: MemoryStorage
) -> None:
    async def stay(method: str) -> None:
        if method == "put":
            await asyncio.Event().wait()

    storage.before = stay
    async with asyncio.timeout(5):
        ended = await exporter.run(await claimed(exporter, await ask()))
    assert ended is not None
    assert (ended.status, ended.error_code) == ("queued", "stream_stalled")


async def test_a_cancelled_worker_hands_its_export_back(
    ask: Ask,
    exporter: Exporter,
    storage: MemoryStorage,
    queue: MemoryQueue,
    engine: AsyncEngine,
) -> None:
    begun = asyncio.Event()

    async def stay(method: str) -> None:
        if method == "put":
            begun.set()
            await asyncio.Event().wait()

    storage.before = stay
    export = await claimed(exporter, await ask())
    running = asyncio.create_task(exporter.run(export))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    now = await reread(engine, export)
    assert (now.status, now.failures) == ("queued", 0)
    assert queue.rings == [(export.seller_id, export.id, 1)]


async def test_a_cancelled_export_ends_its_session_on_the_server(
    ask: Ask, exporter: Exporter, connection: Connection, storefront: Storefront
) -> None:
    await storefront.follow("ann@x.co")
    export = await claimed(exporter, await ask())

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
    ask: Ask, exporter: Exporter, storage: MemoryStorage, engine: AsyncEngine
) -> None:
    """The commit went through, its confirmation did not: the repetition finds the row ended."""
    export = await claimed(exporter, await ask())
    first = await exporter.run(export)
    assert first is not None
    again = await exporter.run(export)
    assert again is not None
    assert (again.status, again.object_key) == ("succeeded", first.object_key)
    assert list(storage.objects) == [first.object_key]
