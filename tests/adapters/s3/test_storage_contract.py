"""What every object storage does, the one in memory included."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.errors import ServiceError, StorageRefused
from app.ports import ObjectStorage, UploadedPart
from tests.adapters.conftest import OpenStore
from tests.fakes import MemoryStorage

MIB = 1024 * 1024
FULL_PART = b"a" * 5 * MIB


@dataclass(frozen=True)
class StorageUnderTest:
    """A storage, a folder for one test, and a way to look into it that is not its own."""

    storage: ObjectStorage
    read: Callable[[str], bytes | None]
    folder: str

    @property
    def key(self) -> str:
        """The object that the test is about."""
        return f"{self.folder}list.csv"

    async def upload(self, *bodies: bytes) -> tuple[str, list[UploadedPart]]:
        """Begin an upload and store its parts, the last first."""
        upload_id = await self.storage.create_upload(self.key)
        numbered = [*enumerate(bodies, start=1)]
        parts = [
            await self.storage.upload_part(self.key, upload_id, number, bytearray(body))
            for number, body in reversed(numbered)
        ]
        return upload_id, parts


@pytest.fixture(params=["memory", "moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def tested(request: pytest.FixtureRequest) -> StorageUnderTest:
    """Each kind of storage in turn, with an empty folder."""
    folder = f"exports/{secrets.token_hex(8)}/"
    if request.param == "memory":
        memory = MemoryStorage()
        return StorageUnderTest(memory, memory.objects.get, folder)
    bucket: OpenStore = request.getfixturevalue(f"open_{request.param}")
    return StorageUnderTest(bucket.storage, bucket.read, folder)


async def test_a_small_object_is_stored_whole(tested: StorageUnderTest) -> None:
    await tested.storage.put(tested.key, b"Email\na@x.co\n")

    assert tested.read(tested.key) == b"Email\na@x.co\n"


async def test_an_empty_object_is_an_object(tested: StorageUnderTest) -> None:
    await tested.storage.put(tested.key, b"")

    assert tested.read(tested.key) == b""


async def test_storing_again_replaces(tested: StorageUnderTest) -> None:
    await tested.storage.put(tested.key, b"old")
    await tested.storage.put(tested.key, b"new")

    assert tested.read(tested.key) == b"new"


async def test_parts_become_one_object_in_the_order_of_their_numbers(
    tested: StorageUnderTest,
) -> None:
    upload_id, parts = await tested.upload(FULL_PART, b"b" * 6 * MIB, b"tail")

    await tested.storage.complete_upload(tested.key, upload_id, parts)

    assert tested.read(tested.key) == FULL_PART + b"b" * 6 * MIB + b"tail"


async def test_parts_may_be_stored_side_by_side(tested: StorageUnderTest) -> None:
    upload_id = await tested.storage.create_upload(tested.key)
    bodies = [bytes([number]) * 5 * MIB for number in range(1, 5)]
    store = tested.storage.upload_part
    parts = await asyncio.gather(
        *(store(tested.key, upload_id, number, body) for number, body in enumerate(bodies, start=1))
    )

    await tested.storage.complete_upload(tested.key, upload_id, parts)

    assert tested.read(tested.key) == b"".join(bodies)


async def test_a_part_stored_again_counts_once(tested: StorageUnderTest) -> None:
    upload_id, _ = await tested.upload(b"damaged")
    part = await tested.storage.upload_part(tested.key, upload_id, 1, b"whole")

    await tested.storage.complete_upload(tested.key, upload_id, [part])

    assert tested.read(tested.key) == b"whole"


async def test_nothing_is_visible_before_an_upload_is_complete(tested: StorageUnderTest) -> None:
    await tested.upload(FULL_PART)

    assert tested.read(tested.key) is None


async def test_completing_again_changes_nothing(tested: StorageUnderTest) -> None:
    upload_id, parts = await tested.upload(b"tail")
    await tested.storage.complete_upload(tested.key, upload_id, parts)

    await tested.storage.complete_upload(tested.key, upload_id, parts)

    assert tested.read(tested.key) == b"tail"


async def test_an_aborted_upload_cannot_be_completed(tested: StorageUnderTest) -> None:
    upload_id, parts = await tested.upload(b"tail")
    await tested.storage.abort_upload(tested.key, upload_id)

    with pytest.raises(ServiceError):  # AWS says 404, moto and Ceph say 500
        await tested.storage.complete_upload(tested.key, upload_id, parts)
    assert tested.read(tested.key) is None


async def test_an_aborted_upload_takes_no_part(tested: StorageUnderTest) -> None:
    upload_id, _ = await tested.upload(b"tail")
    await tested.storage.abort_upload(tested.key, upload_id)

    with pytest.raises(ServiceError):  # AWS and Ceph say 404, moto says 500
        await tested.storage.upload_part(tested.key, upload_id, 2, b"late")


async def test_a_small_part_before_the_last_is_refused(tested: StorageUnderTest) -> None:
    upload_id, parts = await tested.upload(b"small", b"tail")

    with pytest.raises(StorageRefused):
        await tested.storage.complete_upload(tested.key, upload_id, parts)


async def test_aborting_twice_is_fine(tested: StorageUnderTest) -> None:
    upload_id, _ = await tested.upload(b"tail")

    await tested.storage.abort_upload(tested.key, upload_id)
    await tested.storage.abort_upload(tested.key, upload_id)


async def test_what_is_deleted_is_gone(tested: StorageUnderTest) -> None:
    await tested.storage.put(tested.key, b"here")

    await tested.storage.delete(tested.key)

    assert tested.read(tested.key) is None


async def test_deleting_what_never_was_is_fine(tested: StorageUnderTest) -> None:
    await tested.storage.delete(tested.key)


async def test_deleting_leaves_keys_that_go_on_alike(tested: StorageUnderTest) -> None:
    await tested.storage.put(f"{tested.key}.bak", b"other")

    await tested.storage.delete(tested.key)

    assert tested.read(f"{tested.key}.bak") == b"other"


async def test_open_uploads_are_listed_by_prefix_until_they_end(tested: StorageUnderTest) -> None:
    aborted, other = [
        await tested.storage.create_upload(key) for key in (tested.key, f"other/{tested.key}")
    ]
    completed, parts = await tested.upload(b"tail")

    listed = [upload async for upload in tested.storage.list_uploads(tested.folder)]
    assert {upload.upload_id for upload in listed} == {aborted, completed}
    assert {upload.key for upload in listed} == {tested.key}
    assert all(upload.initiated_at.tzinfo for upload in listed)

    await tested.storage.abort_upload(tested.key, aborted)
    await tested.storage.complete_upload(tested.key, completed, parts)
    assert [upload async for upload in tested.storage.list_uploads(tested.folder)] == []
    (left,) = [upload async for upload in tested.storage.list_uploads(f"other/{tested.folder}")]
    assert left.upload_id == other


async def test_objects_are_listed_by_prefix_with_their_time(tested: StorageUnderTest) -> None:
    for name in ("2", "1", "other/3"):
        await tested.storage.put(f"{tested.folder}{name}", b"")
    await tested.storage.put(f"other/{tested.folder}4", b"")

    listed = [item async for item in tested.storage.list_objects(tested.folder)]

    assert [item.key for item in listed] == [f"{tested.folder}{n}" for n in ("1", "2", "other/3")]
    assert all(item.modified_at.tzinfo for item in listed)


@pytest.mark.parametrize("lifetime_s", [0, 604_801])
async def test_no_url_is_signed_for_a_lifetime_that_cannot_be(
    tested: StorageUnderTest, lifetime_s: int
) -> None:
    with pytest.raises(ValueError, match="604800"):
        await tested.storage.presigned_url(tested.key, "list.csv", lifetime_s)


async def test_a_bucket_that_can_be_reached_passes_the_check(tested: StorageUnderTest) -> None:
    await tested.storage.check()
