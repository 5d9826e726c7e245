"""What every object storage does, the one in memory included."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from app.adapters.s3 import open_storage
from app.errors import ServiceError, StorageRefused
from app.ports import ObjectStorage, UploadedPart
from devstack.s3 import Store
from tests.adapters.settings import settings_for
from tests.fakes import MemoryStorage

KEY = "exports/1/list.csv"
MIB = 1024 * 1024
FULL_PART = b"a" * 5 * MIB


@dataclass(frozen=True)
class Bench:
    """A storage, and a way to look into it that is not its own."""

    storage: ObjectStorage
    read: Callable[[str], bytes | None]

    async def upload(self, *bodies: bytes) -> tuple[str, list[UploadedPart]]:
        """Begin an upload and store its parts, the last first."""
        upload_id = await self.storage.create_upload(KEY)
        numbered = [*enumerate(bodies, start=1)]
        parts = [
            await self.storage.upload_part(KEY, upload_id, number, bytearray(body))
            for number, body in reversed(numbered)
        ]
        return upload_id, parts


@pytest.fixture(params=["memory", "moto", pytest.param("ceph", marks=pytest.mark.ceph)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each kind of storage in turn, with an empty bucket."""
    if request.param == "memory":
        memory = MemoryStorage()
        yield Bench(memory, memory.objects.get)
        return
    store: Store = request.getfixturevalue(f"{request.param}_store")
    async with open_storage(settings_for(store)) as storage:
        yield Bench(storage, lambda key: read(store, key))


def read(store: Store, key: str) -> bytes | None:
    with store.client() as client:
        if not client.list_objects_v2(Bucket=store.bucket, Prefix=key).get("Contents"):
            return None
        with client.get_object(Bucket=store.bucket, Key=key)["Body"] as body:
            content: bytes = body.read()
            return content


async def test_a_small_object_is_stored_whole(bench: Bench) -> None:
    await bench.storage.put(KEY, b"Email\na@x.co\n")

    assert bench.read(KEY) == b"Email\na@x.co\n"


async def test_an_empty_object_is_an_object(bench: Bench) -> None:
    await bench.storage.put(KEY, b"")

    assert bench.read(KEY) == b""


async def test_storing_again_replaces(bench: Bench) -> None:
    await bench.storage.put(KEY, b"old")
    await bench.storage.put(KEY, b"new")

    assert bench.read(KEY) == b"new"


async def test_parts_become_one_object_in_the_order_of_their_numbers(bench: Bench) -> None:
    upload_id, parts = await bench.upload(FULL_PART, b"b" * 6 * MIB, b"tail")

    await bench.storage.complete_upload(KEY, upload_id, parts)

    assert bench.read(KEY) == FULL_PART + b"b" * 6 * MIB + b"tail"


async def test_parts_may_be_stored_side_by_side(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    bodies = [bytes([number]) * 5 * MIB for number in range(1, 5)]
    store = bench.storage.upload_part
    parts = await asyncio.gather(
        *(store(KEY, upload_id, number, body) for number, body in enumerate(bodies, start=1))
    )

    await bench.storage.complete_upload(KEY, upload_id, parts)

    assert bench.read(KEY) == b"".join(bodies)


async def test_a_part_stored_again_counts_once(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"damaged")
    part = await bench.storage.upload_part(KEY, upload_id, 1, b"whole")

    await bench.storage.complete_upload(KEY, upload_id, [part])

    assert bench.read(KEY) == b"whole"


async def test_nothing_is_visible_before_an_upload_is_complete(bench: Bench) -> None:
    await bench.upload(FULL_PART)

    assert bench.read(KEY) is None


async def test_completing_again_changes_nothing(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"tail")
    await bench.storage.complete_upload(KEY, upload_id, parts)

    await bench.storage.complete_upload(KEY, upload_id, parts)

    assert bench.read(KEY) == b"tail"


async def test_an_aborted_upload_cannot_be_completed(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"tail")
    await bench.storage.abort_upload(KEY, upload_id)

    with pytest.raises(ServiceError):  # AWS says 404, moto and Ceph say 500
        await bench.storage.complete_upload(KEY, upload_id, parts)
    assert bench.read(KEY) is None


async def test_an_aborted_upload_takes_no_part(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"tail")
    await bench.storage.abort_upload(KEY, upload_id)

    with pytest.raises(ServiceError):  # AWS and Ceph say 404, moto says 500
        await bench.storage.upload_part(KEY, upload_id, 2, b"late")


async def test_a_small_part_before_the_last_is_refused(bench: Bench) -> None:
    upload_id, parts = await bench.upload(b"small", b"tail")

    with pytest.raises(StorageRefused):
        await bench.storage.complete_upload(KEY, upload_id, parts)


async def test_aborting_twice_is_fine(bench: Bench) -> None:
    upload_id, _ = await bench.upload(b"tail")

    await bench.storage.abort_upload(KEY, upload_id)
    await bench.storage.abort_upload(KEY, upload_id)


async def test_what_is_deleted_is_gone(bench: Bench) -> None:
    await bench.storage.put(KEY, b"here")

    await bench.storage.delete(KEY)

    assert bench.read(KEY) is None


async def test_deleting_what_never_was_is_fine(bench: Bench) -> None:
    await bench.storage.delete(KEY)


async def test_deleting_leaves_keys_that_go_on_alike(bench: Bench) -> None:
    await bench.storage.put(f"{KEY}.bak", b"other")

    await bench.storage.delete(KEY)

    assert bench.read(f"{KEY}.bak") == b"other"


async def test_open_uploads_are_listed_by_prefix_until_they_end(bench: Bench) -> None:
    aborted, other = [await bench.storage.create_upload(key) for key in (KEY, "else/where")]
    completed, parts = await bench.upload(b"tail")

    listed = [upload async for upload in bench.storage.list_uploads("exports/1/")]
    assert {upload.upload_id for upload in listed} == {aborted, completed}
    assert {upload.key for upload in listed} == {KEY}
    assert all(upload.initiated_at.tzinfo for upload in listed)

    await bench.storage.abort_upload(KEY, aborted)
    await bench.storage.complete_upload(KEY, completed, parts)
    left = [upload.upload_id async for upload in bench.storage.list_uploads("")]
    assert left == [other]


async def test_objects_are_listed_by_prefix_with_their_time(bench: Bench) -> None:
    for key in ("exports/2", "exports/1", "other"):
        await bench.storage.put(key, b"")

    listed = [item async for item in bench.storage.list_objects("exports/")]

    assert [item.key for item in listed] == ["exports/1", "exports/2"]
    assert all(item.modified_at.tzinfo for item in listed)


@pytest.mark.parametrize("lifetime_s", [0, 604_801])
async def test_no_url_is_signed_for_a_lifetime_that_cannot_be(
    bench: Bench, lifetime_s: int
) -> None:
    with pytest.raises(ValueError, match="604800"):
        await bench.storage.presigned_url(KEY, "list.csv", lifetime_s)


async def test_a_bucket_that_can_be_reached_passes_the_check(bench: Bench) -> None:
    await bench.storage.check()
