"""Orphans: what nobody owns goes; what anybody may own stays."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import StorageRefused, StorageUnavailable
from app.exports.cleanup import orphans as orphans_module
from app.exports.cleanup.orphans import OrphanCollector
from app.exports.execution.exporter import Exporter
from app.exports.object_keys import object_key
from app.models import Export, ExportKey
from tests.fakes import MemoryStorage, fails

Ask = Callable[..., Awaitable[Export]]

FOREIGN = [
    "exports/readme.txt",
    "exports/1/notes.csv",
    "exports/1/00000000-0000-0000-0000-00000000000-/1.csv",
    "exports/staging/1/00000000-0000-0000-0000-000000000000/1.csv",
    "exports/1/00000000-0000-0000-0000-000000000000/1.csv.gz",
    "other/1/00000000-0000-0000-0000-000000000000/1.csv",
]


@pytest.fixture
def orphans(database: Database, storage: MemoryStorage, settings: Settings) -> OrphanCollector:
    """A search for orphans of any age."""
    return OrphanCollector(database, storage, settings.model_copy(update={"orphan_min_age_s": 0}))


@pytest.fixture
async def running(create_export: Ask, exporter: Exporter) -> Export:
    """An export under way, attempt 1."""
    export = await create_export()
    claimed = await exporter.claim(export.key)
    assert claimed is not None
    return claimed


async def leave(storage: MemoryStorage, key: str) -> None:
    """Leave an object and an upload under a key."""
    await storage.put(key, b"Email\n")
    await storage.create_upload(key)


async def test_an_export_that_does_not_exist_owns_nothing(
    orphans: OrphanCollector, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings.s3_prefix, ExportKey(1, uuid4()).attempt(1), "csv"))
    assert await orphans.delete_orphans() == 2
    assert (storage.objects, storage.uploads) == ({}, {})


async def test_a_finished_export_owns_its_file_and_no_other(
    orphans: OrphanCollector,
    running: Export,
    exporter: Exporter,
    storage: MemoryStorage,
    settings: Settings,
) -> None:
    ended = (await exporter.run(running)).export
    assert ended is not None
    for attempt in (0, 2):
        await leave(storage, object_key(settings.s3_prefix, running.key.attempt(attempt), "csv"))
    assert await orphans.delete_orphans() == 4
    assert list(storage.objects) == [ended.object_key]
    assert storage.uploads == {}


async def test_a_running_attempt_owns_what_it_makes_and_no_earlier_one(
    orphans: OrphanCollector, running: Export, storage: MemoryStorage, settings: Settings
) -> None:
    for attempt in (0, 1):
        await leave(storage, object_key(settings.s3_prefix, running.key.attempt(attempt), "csv"))
    await orphans.delete_orphans()
    assert list(storage.objects) == [object_key(settings.s3_prefix, running.key.attempt(1), "csv")]
    assert len(storage.uploads) == 1


async def test_a_waiting_export_owns_the_attempts_to_come_until_it_ends(
    orphans: OrphanCollector,
    create_export: Ask,
    storage: MemoryStorage,
    settings: Settings,
    connection: Connection,
) -> None:
    """A restored database makes attempts again whose files are there: under the same keys."""
    export = await create_export()
    await leave(storage, object_key(settings.s3_prefix, export.key.attempt(1), "csv"))
    assert await orphans.delete_orphans() == 0
    await connection.execute("UPDATE exports SET status = 'cancelled'")
    assert await orphans.delete_orphans() == 2


@pytest.mark.parametrize("status", ["queued", "failed", "cancelled", "expired", "deleted"])
async def test_an_export_in_any_other_state_owns_nothing(
    orphans: OrphanCollector,
    running: Export,
    storage: MemoryStorage,
    settings: Settings,
    connection: Connection,
    status: str,
) -> None:
    await connection.execute("UPDATE exports SET status = $1", status)
    await leave(storage, object_key(settings.s3_prefix, running.key.attempt(1), "csv"))
    assert await orphans.delete_orphans() == 2


async def test_another_sellers_export_of_the_same_id_owns_nothing(
    orphans: OrphanCollector, running: Export, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings.s3_prefix, ExportKey(2, running.id).attempt(1), "csv"))
    assert await orphans.delete_orphans() == 2


async def test_what_is_young_may_belong_to_somebody_yet(
    database: Database, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings.s3_prefix, ExportKey(1, uuid4()).attempt(1), "csv"))
    assert await OrphanCollector(database, storage, settings).delete_orphans() == 0
    assert len(storage.objects) == len(storage.uploads) == 1


@pytest.mark.parametrize("key", FOREIGN)
async def test_what_does_not_look_like_ours_is_left_alone(
    orphans: OrphanCollector, storage: MemoryStorage, key: str
) -> None:
    await leave(storage, key)
    assert await orphans.delete_orphans() == 0
    assert len(storage.objects) == len(storage.uploads) == 1


async def test_more_than_a_batch_is_erased_in_one_go(
    orphans: OrphanCollector,
    storage: MemoryStorage,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orphans_module, "BATCH", 2)
    for _ in range(5):
        await storage.put(
            object_key(settings.s3_prefix, ExportKey(1, uuid4()).attempt(1), "csv"), b"Email\n"
        )
    assert await orphans.delete_orphans() == 5


async def test_what_the_store_refuses_to_erase_holds_up_nothing_else(
    orphans: OrphanCollector, storage: MemoryStorage, settings: Settings
) -> None:
    for _ in range(3):
        await storage.put(
            object_key(settings.s3_prefix, ExportKey(1, uuid4()).attempt(1), "csv"), b"Email\n"
        )
    storage.before = fails("delete", StorageRefused("It is locked."))
    await orphans.delete_orphans()
    assert len(storage.objects) == 1


async def test_a_store_that_refuses_every_deletion_is_logged_once(
    orphans: OrphanCollector, storage: MemoryStorage, settings: Settings
) -> None:
    for _ in range(3):
        await leave(
            storage, object_key(settings.s3_prefix, ExportKey(1, uuid4()).attempt(1), "csv")
        )

    async def refuse(method: str) -> None:
        if method in ("delete", "abort_upload"):
            raise StorageRefused("It is locked.")

    storage.before = refuse
    with capture_logs() as lines:
        await orphans.delete_orphans()
    assert [line["event"] for line in lines] == ["orphan delete failed"]


async def test_with_the_store_away_the_search_is_deferred(
    orphans: OrphanCollector, storage: MemoryStorage
) -> None:
    storage.before = fails("list_objects", StorageUnavailable("away"))
    with pytest.raises(StorageUnavailable):
        await orphans.delete_orphans()
