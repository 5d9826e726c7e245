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
class Bench:
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
def bench(request: pytest.FixtureRequest) -> Bench:
    """Each kind of storage in turn, with an empty folder."""
    folder = f"exports/{secrets.token_hex(8)}/"
    if request.param == "memory":
        memory = MemoryStorage()
        return Bench(memory, memory.objects.get, folder)
    opened: OpenStore = request.getfixturevalue(f"open_{request.param}")
    return Bench(opened.storage, opened.read, folder)


async def test_a_small_object_is_stored_whole(bench: Bench) -> None:
    await bench.storage.put(bench.key, b"Email\na@x.co\n")

    assert bench.read(bench.key) == b"Email\na@x.co\n"


async def test_an_empty_object_is_an_object(bench: Bench) -> None:
    await bench.storage.put(bench.key, b"")

    assert bench.read(bench.key) == b""


async def test_storing_again_replaces(bench: Bench) -> None:
    await bench.storage.put(bench.key, b"old")
    await bench.storage.put(bench.key, b"new")

    assert bench.read(bench.key) == b"new"


async def test_parts_become_one_object_in_the_order_of_their_numbers(bench: Bench) -> None:
    upload_id, parts = await bench.upload(FULL_PART, b"b" * 6 * MIB, b"tail")

    await bench.storage.complete_upload(bench.key, upload_id, parts)

    assert bench.read(bench.key) == FULL_PART + b"b" * 6 * MIB + b"tail"


async def test_parts_may_be_stored_side_by_side(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(bench.key)
    bodies = [bytes([number]) * 5 * MIB for number in range(1, 5)]
    store = bench.storage.upload_part
    parts = await asyncio.gather(
        *(store(bench.key, upload_id, number, body) for number, body in enumerate(bodies, start=1))
    )

    await bench.storage.complete_upload(bench.key, upload_id, parts)

    assert bench.read(bench.key) == b"".join(bodies)


async def test_a_part_stored_again_counts_once(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"damaged")
    part = await bench.storage.upload_part(bench.key, upload_id, 1, b"whole")

    await bench.storage.complete_upload(bench.key, upload_id, [part])

    assert bench.read(bench.key) == b"whole"


async def test_nothing_is_visible_before_an_upload_is_complete(bench: Bench) -> None:
    await bench.upload(FULL_PART)

    assert bench.read(bench.key) is None


async def test_completing_again_changes_nothing(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"tail")
    await bench.storage.complete_upload(bench.key, upload_id, parts)

    await bench.storage.complete_upload(bench.key, upload_id, parts)

    assert bench.read(bench.key) == b"tail"


async def test_an_aborted_upload_cannot_be_completed(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"tail")
    await bench.storage.abort_upload(bench.key, upload_id)

    with pytest.raises(ServiceError):  # AWS says 404, moto and Ceph say 500
        await bench.storage.complete_upload(bench.key, upload_id, parts)
    assert bench.read(bench.key) is None


async def test_an_aborted_upload_takes_no_part(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"tail")
    await bench.storage.abort_upload(bench.key, upload_id)

    with pytest.raises(ServiceError):  # AWS and Ceph say 404, moto says 500
        await bench.storage.upload_part(bench.key, upload_id, 2, b"late")


async def test_a_small_part_before_the_last_is_refused(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"small", b"tail")

    with pytest.raises(StorageRefused):
        await bench.storage.complete_upload(bench.key, upload_id, parts)


async def test_aborting_twice_is_fine(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"tail")

    await bench.storage.abort_upload(bench.key, upload_id)
    await bench.storage.abort_upload(bench.key, upload_id)


async def test_what_is_deleted_is_gone(bench: Bench) -> None:
    await bench.storage.put(bench.key, b"here")

    await bench.storage.delete(bench.key)

    assert bench.read(bench.key) is None


async def test_deleting_what_never_was_is_fine(bench: Bench) -> None:
    await bench.storage.delete(bench.key)


async def test_deleting_leaves_keys_that_go_on_alike(bench: Bench) -> None:
    await bench.storage.put(f"{bench.key}.bak", b"other")

    await bench.storage.delete(bench.key)

    assert bench.read(f"{bench.key}.bak") == b"other"


async def test_open_uploads_are_listed_by_prefix_until_they_end(bench: Bench) -> None:
    aborted, other = [
        await bench.storage.create_upload(key) for key in (bench.key, f"other/{bench.key}")
    ]
    completed, parts = await bench.upload(b"tail")

    listed = [upload async for upload in bench.storage.list_uploads(bench.folder)]
    assert {upload.upload_id for upload in listed} == {aborted, completed}
    assert {upload.key for upload in listed} == {bench.key}
    assert all(upload.initiated_at.tzinfo for upload in listed)

    await bench.storage.abort_upload(bench.key, aborted)
    await bench.storage.complete_upload(bench.key, completed, parts)
    assert [upload async for upload in bench.storage.list_uploads(bench.folder)] == []
    (left,) = [upload async for upload in bench.storage.list_uploads(f"other/{bench.folder}")]
    assert left.upload_id == other


async def test_objects_are_listed_by_prefix_with_their_time(bench: Bench) -> None:
    for name in ("2", "1", "other/3"):
        await bench.storage.put(f"{bench.folder}{name}", b"")
    await bench.storage.put(f"other/{bench.folder}4", b"")

    listed = [item async for item in bench.storage.list_objects(bench.folder)]

    assert [item.key for item in listed] == [f"{bench.folder}{n}" for n in ("1", "2", "other/3")]
    assert all(item.modified_at.tzinfo for item in listed)


@pytest.mark.parametrize("lifetime_s", [0, 604_801])
async def test_no_url_is_signed_for_a_lifetime_that_cannot_be(
    bench: Bench, lifetime_s: int
) -> None:
    with pytest.raises(ValueError, match="604800"):
        await bench.storage.presigned_url(bench.key, "list.csv", lifetime_s)


async def test_a_bucket_that_can_be_reached_passes_the_check(bench: Bench) -> None:
    await bench.storage.check()
