"""What dead attempts left: found by its name, removed, and forgotten only then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from app.config import Settings
from app.database.connections import Connection, connect, create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable, ServiceError, StorageRefused, StorageUnavailable
from app.exports.cleanup.attempt_cleanup import AttemptCleaner, AttemptCleanup
from app.exports.object_keys import object_key, session_name
from app.models import Export
from tests.fakes import MemoryStorage, fails
from tests.polling import until

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
async def left(
    create_export: Ask, connection: Connection, storage: MemoryStorage, fast_settings: Settings
) -> Export:
    """An export whose attempts 1 and 11 left an object and an upload each."""
    export = await create_export()
    await connection.execute("UPDATE exports SET attempt = 11, uncleaned_attempts = '{1, 11}'")
    for attempt in (1, 11):
        key = object_key(fast_settings.s3_prefix, export.key.attempt(attempt), "csv")
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
    left: Export, attempt_cleaner: AttemptCleaner, storage: MemoryStorage, connection: Connection
) -> None:
    await attempt_cleaner.clean_up(left.key.attempt(1), "csv")
    assert attempts_of(storage) == ({"11.csv"}, {"11.csv"})
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [11]


async def test_clearing_twice_is_clearing_once(
    left: Export, attempt_cleaner: AttemptCleaner, storage: MemoryStorage
) -> None:
    for _ in range(2):
        await attempt_cleaner.clean_up(left.key.attempt(11), "csv")
    assert attempts_of(storage) == ({"1.csv"}, {"1.csv"})


@pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageRefused("denied")])
@pytest.mark.parametrize("method", ["list_uploads", "abort_upload", "delete"])
async def test_an_attempt_is_not_forgotten_before_all_is_gone(
    left: Export,
    attempt_cleaner: AttemptCleaner,
    storage: MemoryStorage,
    connection: Connection,
    method: str,
    error: ServiceError,
) -> None:
    storage.before = fails(method, error)
    with pytest.raises(type(error)):
        await attempt_cleaner.clean_up(left.key.attempt(1), "csv")
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1, 11]
    await attempt_cleaner.clean_up(left.key.attempt(1), "csv")
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [11]


async def test_the_attempts_sessions_end_and_no_others(
    left: Export, attempt_cleaner: AttemptCleaner, database_url: str
) -> None:
    async with (
        session(database_url, session_name(left.key.attempt(1))) as its,
        session(database_url, session_name(left.key.attempt(11))) as others,
    ):
        await attempt_cleaner.clean_up(left.key.attempt(1), "csv")
        await until_ended(its)
        assert await others.fetchval("SELECT 1") == 1


async def test_stopping_ends_the_latest_attempts_sessions_and_erases_nothing(
    left: Export, attempt_cleaner: AttemptCleaner, database_url: str, storage: MemoryStorage
) -> None:
    async with session(database_url, session_name(left.attempt_key)) as its:
        await attempt_cleaner.terminate_sessions(left)
        await until_ended(its)
    assert attempts_of(storage) == ({"1.csv", "11.csv"}, {"1.csv", "11.csv"})


async def test_files_are_erased_while_the_replica_is_unavailable(
    left: Export,
    database: Database,
    storage: MemoryStorage,
    fast_settings: Settings,
    connection: Connection,
) -> None:
    nowhere = Database(create_engine("postgresql://127.0.0.1:1/nowhere", pool_size=1))
    attempt_cleaner = AttemptCleaner(database, nowhere, storage, fast_settings)
    with pytest.raises(DatabaseUnavailable):
        await attempt_cleaner.clean_up(left.key.attempt(1), "csv")
    assert attempts_of(storage) == ({"11.csv"}, {"11.csv"})
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1, 11]


@pytest.fixture
async def leftovers(
    create_export: Ask, storage: MemoryStorage, fast_settings: Settings, connection: Connection
) -> list[str]:
    """The keys of objects that two exports' attempts left behind."""
    keys = []
    for number in range(2):
        export = await create_export(recipient_email=f"{number}@example.com")
        keys.append(object_key(fast_settings.s3_prefix, export.key.attempt(1), "csv"))
        await storage.put(keys[-1], b"Email\n")
    await connection.execute("UPDATE exports SET attempt = 2, uncleaned_attempts = '{1, 2}'")
    return keys


async def test_what_attempts_left_is_cleared(
    attempt_cleanup: AttemptCleanup, leftovers: list[str], storage: MemoryStorage
) -> None:
    assert await attempt_cleanup.clean_up_failed_attempts() == 2
    assert storage.objects == {}
    assert await attempt_cleanup.clean_up_failed_attempts() == 0


async def test_an_unavailable_bucket_is_logged_once_a_minute_with_a_count(
    attempt_cleanup: AttemptCleanup,
    leftovers: list[str],
    storage: MemoryStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(method: str) -> None:
        if method == "delete":
            raise StorageRefused("The file storage's bucket does not exist.")

    storage.before = refuse
    with capture_logs() as lines:
        for _ in range(3):
            assert await attempt_cleanup.clean_up_failed_attempts() == 2
        monkeypatch.setattr("app.observability.limited_warnings.INTERVAL_S", 0)
        assert await attempt_cleanup.clean_up_failed_attempts() == 2
    failed = [line["suppressed"] for line in lines if line["event"] == "attempt cleanup failed"]
    assert failed == [0, 11, 0, 0, 0]


@pytest.mark.parametrize("error", [StorageRefused("Access is denied."), ZeroDivisionError()])
async def test_what_the_store_refuses_to_erase_holds_up_nothing_else(
    attempt_cleanup: AttemptCleanup, leftovers: list[str], storage: MemoryStorage, error: Exception
) -> None:
    storage.before = fails("delete", error)
    assert await attempt_cleanup.clean_up_failed_attempts() == 2
    assert await attempt_cleanup.clean_up_failed_attempts() == 1
    assert storage.objects == {}


async def test_a_batch_that_cannot_be_cleared_holds_up_no_other(
    attempt_cleanup: AttemptCleanup,
    leftovers: list[str],
    storage: MemoryStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.exports.cleanup.attempt_cleanup.BATCH", 1)
    storage.before = fails("delete", StorageRefused("Access is denied."), times=2)
    assert [await attempt_cleanup.clean_up_failed_attempts() for _ in range(4)] == [1, 1, 0, 1]
    assert storage.objects == {}


async def test_with_the_store_away_clearing_is_deferred(
    attempt_cleanup: AttemptCleanup, leftovers: list[str], storage: MemoryStorage
) -> None:
    storage.before = fails("list_uploads", StorageUnavailable("away"))
    with pytest.raises(StorageUnavailable):
        await attempt_cleanup.clean_up_failed_attempts()
    assert sorted(storage.objects) == sorted(leftovers)


async def test_many_may_clear_at_once(
    attempt_cleanup: AttemptCleanup,
    leftovers: list[str],
    storage: MemoryStorage,
    connection: Connection,
) -> None:
    await asyncio.gather(*(attempt_cleanup.clean_up_failed_attempts() for _ in range(4)))
    assert storage.objects == {}
    assert await connection.fetchval("SELECT bool_and(uncleaned_attempts = '{}') FROM exports")


async def test_an_object_that_the_store_never_lets_go_holds_up_no_other(
    create_export: Ask,
    attempt_cleanup: AttemptCleanup,
    storage: MemoryStorage,
    connection: Connection,
    fast_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(3)]
    await connection.execute("UPDATE exports SET attempt = 1, uncleaned_attempts = '{1}'")
    stuck = object_key(fast_settings.s3_prefix, exports[0].key.attempt(1), "csv")
    delete = storage.delete

    async def delete_unless_stuck(key: str) -> None:
        if key == stuck:
            raise StorageUnavailable("The file storage is unavailable.")
        await delete(key)

    monkeypatch.setattr(storage, "delete", delete_unless_stuck)
    with pytest.raises(StorageUnavailable):
        await attempt_cleanup.clean_up_failed_attempts()
    assert await attempt_cleanup.clean_up_failed_attempts() == 2
    left = await connection.fetch("SELECT id FROM exports WHERE uncleaned_attempts <> '{}'")
    assert [row["id"] for row in left] == [exports[0].id]
    with pytest.raises(StorageUnavailable):
        await attempt_cleanup.clean_up_failed_attempts()
