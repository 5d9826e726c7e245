"""What dead attempts left: found by its name, removed, and forgotten only then."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection, connect, create_engine
from app.errors import DatabaseUnavailable, ServiceError, StorageRefused, StorageUnavailable
from app.exports.residue import Residue, object_key, session_name
from app.models import Export
from tests.fakes import MemoryStorage, fails
from tests.waiting import until

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
async def left(ask: Ask, connection: Connection, storage: MemoryStorage, quick: Settings) -> Export:
    """An export whose attempts 1 and 11 left an object and an upload each."""
    export = await ask()
    await connection.execute("UPDATE exports SET attempt = 11, residue = '{1, 11}'")
    for attempt in (1, 11):
        key = object_key(quick, export.seller_id, export.id, attempt)
        await storage.put(key, b"Email\n")
        await storage.create_upload(key)
    return export


@asynccontextmanager
async def session(url: str, name: str) -> AsyncIterator[Connection]:
    """Open a database session under an attempt's name."""
    connection = await connect(url)
    await connection.execute(f"SET application_name = '{name}'")
    yield connection
    await connection.close()


async def until_ended(session: Connection) -> None:
    """Wait until the server has ended a session."""

    async def has_ended() -> bool:
        return bool(session.is_closed())

    await until(has_ended)


def attempts_of(storage: MemoryStorage) -> tuple[set[str], set[str]]:
    """Return whose objects and whose uploads there are."""
    uploads = (upload.key for upload in storage.uploads.values())
    return {key.split("/")[-1] for key in storage.objects}, {key.split("/")[-1] for key in uploads}


async def test_one_attempts_uploads_and_object_go_and_its_number_leaves_the_row(
    left: Export, residue: Residue, storage: MemoryStorage, connection: Connection
) -> None:
    await residue.clear(left.seller_id, left.id, 1)
    assert attempts_of(storage) == ({"11.csv"}, {"11.csv"})
    assert await connection.fetchval("SELECT residue FROM exports") == [11]


async def test_clearing_twice_is_clearing_once(
    left: Export, residue: Residue, storage: MemoryStorage
) -> None:
    for _ in range(2):
        await residue.clear(left.seller_id, left.id, 11)
    assert attempts_of(storage) == ({"1.csv"}, {"1.csv"})


@pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageRefused("denied")])
@pytest.mark.parametrize("method", ["list_uploads", "abort_upload", "delete"])
async def test_an_attempt_is_not_forgotten_before_all_is_gone(
    left: Export,
    residue: Residue,
    storage: MemoryStorage,
    connection: Connection,
    method: str,
    error: ServiceError,
) -> None:
    storage.before = fails(method, error)
    with pytest.raises(type(error)):
        await residue.clear(left.seller_id, left.id, 1)
    assert await connection.fetchval("SELECT residue FROM exports") == [1, 11]
    await residue.clear(left.seller_id, left.id, 1)
    assert await connection.fetchval("SELECT residue FROM exports") == [11]


async def test_the_attempts_sessions_end_and_no_others(
    left: Export, residue: Residue, database_url: str
) -> None:
    async with (
        session(database_url, session_name(left.id, 1)) as its,
        session(database_url, session_name(left.id, 11)) as others,
    ):
        await residue.clear(left.seller_id, left.id, 1)
        await until_ended(its)
        assert await others.fetchval("SELECT 1") == 1


async def test_stopping_ends_the_latest_attempts_sessions_and_erases_nothing(
    left: Export, residue: Residue, database_url: str, storage: MemoryStorage
) -> None:
    async with session(database_url, session_name(left.id, left.attempt)) as its:
        await residue.stop(left)
        await until_ended(its)
    assert attempts_of(storage) == ({"1.csv", "11.csv"}, {"1.csv", "11.csv"})


async def test_files_are_erased_while_the_replica_is_away(
    left: Export,
    engine: AsyncEngine,
    storage: MemoryStorage,
    quick: Settings,
    connection: Connection,
) -> None:
    nowhere = create_engine("postgresql://127.0.0.1:1/nowhere", pool_size=1)
    residue = Residue(engine, nowhere, storage, quick)
    with pytest.raises(DatabaseUnavailable):
        await residue.clear(left.seller_id, left.id, 1)
    assert attempts_of(storage) == ({"11.csv"}, {"11.csv"})
    assert await connection.fetchval("SELECT residue FROM exports") == [1, 11]
