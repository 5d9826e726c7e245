"""Orphans: what nobody owns goes; what anybody may own stays."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import StorageRefused, StorageUnavailable
from app.exports import orphans as orphans_module
from app.exports.exporter import Exporter
from app.exports.orphans import Orphans
from app.exports.residue import object_key
from app.models import Export
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
def orphans(engine: AsyncEngine, storage: MemoryStorage, settings: Settings) -> Orphans:
    """A search for orphans of any age."""
    return Orphans(engine, storage, settings.model_copy(update={"orphan_age_s": 0}))


@pytest.fixture
async def running(ask: Ask, exporter: Exporter) -> Export:
    """An export under way, attempt 1."""
    export = await ask()
    claimed = await exporter.claim(export.seller_id, export.id)
    assert claimed is not None
    return claimed


async def leave(storage: MemoryStorage, key: str) -> None:
    """Leave an object and an upload under a key."""
    await storage.put(key, b"Email\n")
    await storage.create_upload(key)


async def test_an_export_that_does_not_exist_owns_nothing(
    orphans: Orphans, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings, 1, uuid4(), 1))
    assert await orphans.erase() == 2
    assert (storage.objects, storage.uploads) == ({}, {})


async def test_a_finished_export_owns_its_file_and_no_other(
    orphans: Orphans,
    running: Export,
    exporter: Exporter,
    storage: MemoryStorage,
    settings: Settings,
) -> None:
    ended = await exporter.run(running)
    assert ended is not None
    for attempt in (0, 2):
        await leave(storage, object_key(settings, 1, running.id, attempt))
    assert await orphans.erase() == 4
    assert list(storage.objects) == [ended.object_key]
    assert storage.uploads == {}


async def test_a_running_attempt_owns_what_it_makes_and_no_earlier_one(
    orphans: Orphans, running: Export, storage: MemoryStorage, settings: Settings
) -> None:
    for attempt in (0, 1):
        await leave(storage, object_key(settings, 1, running.id, attempt))
    await orphans.erase()
    assert list(storage.objects) == [object_key(settings, 1, running.id, 1)]
    assert len(storage.uploads) == 1


@pytest.mark.parametrize("status", ["queued", "failed", "cancelled", "expired", "deleted"])
async def test_an_export_in_any_other_state_owns_nothing(
    orphans: Orphans,
    running: Export,
    storage: MemoryStorage,
    settings: Settings,
    connection: Connection,
    status: str,
) -> None:
    await connection.execute("UPDATE exports SET status = $1", status)
    await leave(storage, object_key(settings, 1, running.id, 1))
    assert await orphans.erase() == 2


async def test_another_sellers_export_of_the_same_id_owns_nothing(
    orphans: Orphans, running: Export, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings, 2, running.id, 1))
    assert await orphans.erase() == 2


async def test_what_is_young_may_belong_to_somebody_yet(
    engine: AsyncEngine, storage: MemoryStorage, settings: Settings
) -> None:
    await leave(storage, object_key(settings, 1, uuid4(), 1))
    assert await Orphans(engine, storage, settings).erase() == 0
    assert len(storage.objects) == len(storage.uploads) == 1


@pytest.mark.parametrize("key", FOREIGN)
async def test_what_does_not_look_like_ours_is_left_alone(
    orphans: Orphans, storage: MemoryStorage, key: str
) -> None:
    await leave(storage, key)
    assert await orphans.erase() == 0
    assert len(storage.objects) == len(storage.uploads) == 1


async def test_more_than_a_batch_is_erased_in_one_go(
    orphans: Orphans,
    storage: MemoryStorage,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orphans_module, "BATCH", 2)
    for _ in range(5):
        await storage.put(object_key(settings, 1, uuid4(), 1), b"Email\n")
    assert await orphans.erase() == 5


async def test_what_the_store_refuses_to_erase_holds_up_nothing_else(
    orphans: Orphans, storage: MemoryStorage, settings: Settings
) -> None:
    for _ in range(3):
        await storage.put(object_key(settings, 1, uuid4(), 1), b"Email\n")
    storage.before = fails("delete", StorageRefused("It is locked."))
    await orphans.erase()
    assert len(storage.objects) == 1


async def test_with_the_store_away_the_search_is_put_off(
    orphans: Orphans, storage: MemoryStorage
) -> None:
    storage.before = fails("list_objects", StorageUnavailable("away"))
    with pytest.raises(StorageUnavailable):
        await orphans.erase()
