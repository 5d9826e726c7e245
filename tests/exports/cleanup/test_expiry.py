"""Expiry: the file is seen to be gone before the row says so; rows are forgotten a month later."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import (
    FileRemains,
    QueueUnavailable,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
)
from app.exports.audit import list_entries
from app.exports.cleanup import expiry as expiry_module
from app.exports.cleanup.expiry import ExpirationTask
from app.exports.execution.exporter import Exporter
from app.models import Export
from tests.exports.conftest import reload
from tests.fakes import MemoryExportEvents, MemoryStorage, fails
from tests.polling import HANGS_S

Ask = Callable[..., Awaitable[Export]]

DUE = "UPDATE exports SET expires_at = clock_timestamp()"


@pytest.fixture
def expiry(
    database: Database, storage: MemoryStorage, export_events: MemoryExportEvents
) -> ExpirationTask:
    """A worker's expiry."""
    return ExpirationTask(database, storage, export_events)


@pytest.fixture
def make(create_export: Ask, exporter: Exporter) -> Callable[..., Awaitable[list[Export]]]:
    """Make some exports with files."""

    async def make(count: int) -> list[Export]:
        made = []
        for number in range(count):
            export = await create_export(recipient_email=f"{number}@example.com")
            running = await exporter.claim(export.key)
            assert running is not None
            ended = (await exporter.run(running)).export
            assert ended is not None
            made.append(ended)
        return made

    return make


@pytest.fixture
async def due(make: Callable[..., Awaitable[list[Export]]], connection: Connection) -> Export:
    """An export whose time is over."""
    (export,) = await make(1)
    await connection.execute(DUE)
    return export


async def actions(database: Database, export: Export) -> list[str]:
    return [each.action for each in await list_entries(database, export.id, limit=9, before=None)]


async def test_a_file_whose_time_is_over_is_erased_and_the_row_says_so(
    due: Export, expiry: ExpirationTask, storage: MemoryStorage, database: Database
) -> None:
    assert await expiry.expire_files() == 1
    assert storage.objects == {}
    now = await reload(database, due)
    assert (now.status, now.object_key, now.file_rows) == ("expired", None, due.file_rows)
    assert await expiry.expire_files() == 0


async def test_a_file_lives_until_its_time_is_over(
    make: Callable[..., Awaitable[list[Export]]], expiry: ExpirationTask, storage: MemoryStorage
) -> None:
    await make(1)
    assert await expiry.expire_files() == 0
    assert len(storage.objects) == 1


async def test_a_mail_that_could_not_be_sent_before_has_failed(
    due: Export, expiry: ExpirationTask, database: Database
) -> None:
    await expiry.expire_files()
    assert (await reload(database, due)).email_status == "failed"


async def test_a_mail_that_was_sent_stays_sent(
    due: Export, expiry: ExpirationTask, database: Database, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET email_status = 'sent'")
    await expiry.expire_files()
    assert (await reload(database, due)).email_status == "sent"


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), StorageRefused("denied"), FileRemains("still there")]
)
async def test_the_row_does_not_say_so_before_the_file_is_seen_to_be_gone(
    due: Export,
    expiry: ExpirationTask,
    storage: MemoryStorage,
    database: Database,
    error: ServiceError,
) -> None:
    storage.before = fails("delete", error)
    await expiry.expire_files()
    assert (await reload(database, due)).status == "succeeded"
    await expiry.expire_files()
    assert (await reload(database, due)).status == "expired"


async def test_a_clock_set_back_meanwhile_leaves_no_row_without_its_file(
    due: Export,
    expiry: ExpirationTask,
    storage: MemoryStorage,
    database: Database,
    connection: Connection,
) -> None:
    async def set_the_clock_back(_method: str) -> None:
        await connection.execute("UPDATE exports SET expires_at = expires_at + interval '1 hour'")

    storage.before = set_the_clock_back
    await expiry.expire_files()
    assert (await reload(database, due)).status == "expired"


async def test_what_is_being_deleted_does_not_expire(
    due: Export, expiry: ExpirationTask, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET deletion_requested_at = clock_timestamp()")
    assert await expiry.expire_files() == 0


@pytest.mark.parametrize("error", [StorageRefused("It is locked."), ZeroDivisionError()])
async def test_a_file_that_cannot_be_erased_holds_up_no_other(
    error: Exception,
    make: Callable[..., Awaitable[list[Export]]],
    expiry: ExpirationTask,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    await make(3)
    await connection.execute(DUE)
    storage.before = fails("delete", error)
    assert await expiry.expire_files() == 3
    assert len(storage.objects) == 1


async def test_a_batch_that_cannot_be_erased_holds_up_no_other(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: ExpirationTask,
    storage: MemoryStorage,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry_module, "BATCH", 2)
    await make(5)
    await connection.execute(DUE)
    storage.before = fails("delete", StorageRefused("It is locked."), times=2)
    assert [await expiry.expire_files() for _ in range(3)] == [2, 3, 2]
    assert storage.objects == {}


async def test_a_file_that_the_store_never_answers_about_holds_up_no_other(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: ExpirationTask,
    storage: MemoryStorage,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry_module, "DELETE_TIMEOUT_S", 0.1)
    await make(3)
    await connection.execute(DUE)
    silent = iter([True])

    async def hang_once(method: str) -> None:
        if method == "delete" and next(silent, False):
            await asyncio.Event().wait()

    storage.before = hang_once
    async with asyncio.timeout(HANGS_S):
        assert await expiry.expire_files() == 3
    assert len(storage.objects) == 1
    assert await expiry.expire_files() == 1
    assert storage.objects == {}


async def test_more_than_a_batch_expires_in_one_go(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: ExpirationTask,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry_module, "BATCH", 2)
    await make(5)
    await connection.execute(DUE)
    assert await expiry.expire_files() == 5


async def test_many_may_expire_at_once(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: ExpirationTask,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    await make(3)
    await connection.execute(DUE)
    await asyncio.gather(*(expiry.expire_files() for _ in range(4)))
    assert storage.objects == {}
    assert await connection.fetchval("SELECT bool_and(status = 'expired') FROM exports")


async def test_with_redis_away_files_expire_all_the_same(
    due: Export, expiry: ExpirationTask, export_events: MemoryExportEvents, database: Database
) -> None:
    export_events.before = fails("publish", QueueUnavailable("away"))
    await expiry.expire_files()
    assert (await reload(database, due)).status == "expired"


async def test_a_delete_that_comes_first_wins(
    due: Export,
    expiry: ExpirationTask,
    storage: MemoryStorage,
    database: Database,
    connection: Connection,
) -> None:
    async def delete_first(method: str) -> None:
        if method == "delete":
            await connection.execute("UPDATE exports SET status = 'deleted'")

    storage.before = delete_first
    await expiry.expire_files()
    assert (await reload(database, due)).status == "deleted"
    assert await actions(database, due) == ["requested"]


async def test_an_expiry_is_audited_once_however_many_see_to_it(
    due: Export, expiry: ExpirationTask, database: Database
) -> None:
    await asyncio.gather(*(expiry.expire_files() for _ in range(4)))
    assert await actions(database, due) == ["expired", "requested"]


async def test_rows_are_kept_for_thirty_days_after_their_end(
    due: Export, expiry: ExpirationTask, connection: Connection
) -> None:
    await expiry.expire_files()
    ages = {"29 days 23 hours": 1, "1 hour": 0}
    for age, left in ages.items():
        await connection.execute(f"""
            UPDATE exports
            SET finished_at = finished_at - interval '{age}',
                expires_at = expires_at - interval '{age}'
        """)
        await expiry.prune()
        assert await connection.fetchval("SELECT count(*) FROM exports") == left


@pytest.mark.parametrize(
    "change", ["status = 'queued'", "status = 'succeeded'", "uncleaned_attempts = '{1}'"]
)
async def test_what_is_not_over_is_not_forgotten(
    due: Export, expiry: ExpirationTask, connection: Connection, change: str
) -> None:
    await expiry.expire_files()
    await connection.execute(f"""
        UPDATE exports
        SET {change}, finished_at = finished_at - interval '1 year',
            expires_at = expires_at - interval '1 year'
    """)
    await expiry.prune()
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_keys_are_kept_for_a_day(expiry: ExpirationTask, connection: Connection) -> None:
    await connection.execute("""
        INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
        SELECT 1, hours::text, '', uuidv7(), clock_timestamp() - hours * interval '1 hour'
        FROM unnest(ARRAY[23, 25]) AS hours
    """)
    await expiry.prune()
    assert await connection.fetchval("SELECT array_agg(key) FROM idempotency_keys") == ["23"]


async def test_notices_are_kept_for_thirty_days(
    expiry: ExpirationTask, connection: Connection
) -> None:
    await connection.execute("""
        INSERT INTO list_notices (seller_id, export_id, created_at)
        SELECT days, uuidv7(), clock_timestamp() - days * interval '1 day'
        FROM unnest(ARRAY[29, 31]) AS days
    """)
    await expiry.prune()
    assert await connection.fetchval("SELECT array_agg(seller_id) FROM list_notices") == [29]


async def test_more_than_a_batch_is_forgotten_in_one_go(
    expiry: ExpirationTask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry_module, "BATCH", 2)
    await connection.execute("""
        INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
        SELECT 1, number::text, '', uuidv7(), clock_timestamp() - interval '2 days'
        FROM generate_series(1, 5) AS number
    """)
    await expiry.prune()
    assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0
