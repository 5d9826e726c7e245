"""Expiry: the file is seen to be gone before the row says so; rows are forgotten a month later."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from app.errors import QueueUnavailable, StorageRefused, StorageUnavailable
from app.exports import expiry as expiry_module
from app.exports.audit import list_entries
from app.exports.expiry import Expiry
from app.exports.exporter import Exporter
from app.models import Export
from tests.exports.conftest import reread
from tests.fakes import MemoryNews, MemoryStorage, fails

Ask = Callable[..., Awaitable[Export]]

DUE = "UPDATE exports SET expires_at = clock_timestamp()"


@pytest.fixture
def expiry(engine: AsyncEngine, storage: MemoryStorage, news: MemoryNews) -> Expiry:
    """A worker's expiry."""
    return Expiry(engine, storage, news)


@pytest.fixture
def make(ask: Ask, exporter: Exporter) -> Callable[..., Awaitable[list[Export]]]:
    """Make some exports with files."""

    async def make(count: int) -> list[Export]:
        made = []
        for number in range(count):
            export = await ask(recipient_email=f"{number}@example.com")
            running = await exporter.claim(export.seller_id, export.id)
            assert running is not None
            ended = await exporter.run(running)
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


async def actions(engine: AsyncEngine, export: Export) -> list[str]:
    return [each.action for each in await list_entries(engine, export.id, limit=9, before=None)]


async def test_a_file_whose_time_is_over_is_erased_and_the_row_says_so(
    due: Export, expiry: Expiry, storage: MemoryStorage, engine: AsyncEngine
) -> None:
    assert await expiry.expire_files() == 1
    assert storage.objects == {}
    now = await reread(engine, due)
    assert (now.status, now.object_key, now.file_rows) == ("expired", None, due.file_rows)
    assert await expiry.expire_files() == 0


async def test_a_file_lives_until_its_time_is_over(
    make: Callable[..., Awaitable[list[Export]]], expiry: Expiry, storage: MemoryStorage
) -> None:
    await make(1)
    assert await expiry.expire_files() == 0
    assert len(storage.objects) == 1


async def test_a_mail_that_could_not_be_sent_before_has_failed(
    due: Export, expiry: Expiry, engine: AsyncEngine
) -> None:
    await expiry.expire_files()
    assert (await reread(engine, due)).email_status == "failed"


async def test_a_mail_that_was_sent_stays_sent(
    due: Export, expiry: Expiry, engine: AsyncEngine, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET email_status = 'sent'")
    await expiry.expire_files()
    assert (await reread(engine, due)).email_status == "sent"


@pytest.mark.parametrize("method", ["delete", "head"])
@pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageRefused("denied")])
async def test_the_row_does_not_say_so_before_the_file_is_seen_to_be_gone(
    due: Export,
    expiry: Expiry,
    storage: MemoryStorage,
    engine: AsyncEngine,
    method: str,
    error: StorageUnavailable,
) -> None:
    storage.before = fails(method, error)
    await expiry.expire_files()
    assert (await reread(engine, due)).status == "succeeded"
    await expiry.expire_files()
    assert (await reread(engine, due)).status == "expired"


async def test_a_file_that_survives_its_deletion_is_not_called_expired(
    due: Export, expiry: Expiry, storage: MemoryStorage, engine: AsyncEngine
) -> None:
    async def come_back(method: str) -> None:
        if method == "head":
            assert due.object_key is not None
            storage.objects[due.object_key] = b"Email\n"

    storage.before = come_back
    await expiry.expire_files()
    assert (await reread(engine, due)).status == "succeeded"


async def test_a_file_that_cannot_be_erased_holds_up_no_other(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: Expiry,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    await make(3)
    await connection.execute(DUE)
    storage.before = fails("delete", StorageRefused("It is locked."))
    assert await expiry.expire_files() == 3
    assert len(storage.objects) == 1


async def test_more_than_a_batch_expires_in_one_go(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: Expiry,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry_module, "BATCH", 2)
    await make(5)
    await connection.execute(DUE)
    assert await expiry.expire_files() == 5


async def test_many_may_expire_at_once(
    make: Callable[..., Awaitable[list[Export]]],
    expiry: Expiry,
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    await make(3)
    await connection.execute(DUE)
    await asyncio.gather(*(expiry.expire_files() for _ in range(4)))
    assert storage.objects == {}
    assert await connection.fetchval("SELECT bool_and(status = 'expired') FROM exports")


async def test_with_redis_away_files_expire_all_the_same(
    due: Export, expiry: Expiry, news: MemoryNews, engine: AsyncEngine
) -> None:
    news.before = fails("publish", QueueUnavailable("away"))
    await expiry.expire_files()
    assert (await reread(engine, due)).status == "expired"


async def test_a_delete_that_comes_first_wins(
    due: Export,
    expiry: Expiry,
    storage: MemoryStorage,
    engine: AsyncEngine,
    connection: Connection,
) -> None:
    async def delete_first(method: str) -> None:
        if method == "delete":
            await connection.execute("UPDATE exports SET status = 'deleted'")

    storage.before = delete_first
    await expiry.expire_files()
    assert (await reread(engine, due)).status == "deleted"
    assert await actions(engine, due) == ["requested"]


async def test_an_expiry_is_audited_once_however_many_see_to_it(
    due: Export, expiry: Expiry, engine: AsyncEngine
) -> None:
    await asyncio.gather(*(expiry.expire_files() for _ in range(4)))
    assert await actions(engine, due) == ["expired", "requested"]


async def test_rows_are_kept_for_thirty_days_after_their_end(
    due: Export, expiry: Expiry, connection: Connection
) -> None:
    await expiry.expire_files()
    ages = {"29 days 23 hours": 1, "1 hour": 0}
    for age, left in ages.items():
        await connection.execute(f"""
            UPDATE exports
            SET finished_at = finished_at - interval '{age}',
                expires_at = expires_at - interval '{age}'
        """)
        await expiry.forget()
        assert await connection.fetchval("SELECT count(*) FROM exports") == left


@pytest.mark.parametrize("kept", ["status = 'queued'", "status = 'succeeded'", "residue = '{1}'"])
async def test_what_is_not_over_is_not_forgotten(
    due: Export, expiry: Expiry, connection: Connection, kept: str
) -> None:
    await expiry.expire_files()
    await connection.execute(f"""
        UPDATE exports
        SET {kept}, finished_at = finished_at - interval '1 year',
            expires_at = expires_at - interval '1 year'
    """)
    await expiry.forget()
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_keys_are_kept_for_a_day(expiry: Expiry, connection: Connection) -> None:
    await connection.execute("""
        INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
        SELECT 1, hours::text, '', uuidv7(), clock_timestamp() - hours * interval '1 hour'
        FROM unnest(ARRAY[23, 25]) AS hours
    """)
    await expiry.forget()
    assert await connection.fetchval("SELECT array_agg(key) FROM idempotency_keys") == ["23"]


async def test_more_than_a_batch_is_forgotten_in_one_go(
    expiry: Expiry, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry_module, "BATCH", 2)
    await connection.execute("""
        INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
        SELECT 1, number::text, '', uuidv7(), clock_timestamp() - interval '2 days'
        FROM generate_series(1, 5) AS number
    """)
    await expiry.forget()
    assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0
