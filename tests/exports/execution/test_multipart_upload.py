"""Parts: bounded, in order, whole, and nothing left when they fail."""

import asyncio
import itertools
import random

import pytest

from app.config import MIB, Settings
from app.errors import StorageRefused, StorageUnavailable
from app.exports.execution.multipart_upload import (
    ROW_BYTES_MAX,
    Progress,
    open_multipart_upload,
    part_size,
)
from tests.fakes import MemoryStorage, fails

KEY = "exports/1/x/1.csv"
PART = 5 * MIB


@pytest.fixture
def small_parts(settings: Settings) -> Settings:
    """The smallest parts that S3 takes, two under way."""
    return settings.model_copy(update={"part_bytes": PART, "parts_in_flight": 2})


def chunks(size: int, chunk: int = 300_007) -> list[bytes]:
    """Return ``size`` bytes that do not repeat, cut at odd places."""
    data = random.Random(size).randbytes(size)
    return [data[start : start + chunk] for start in range(0, size, chunk)]


@pytest.mark.parametrize(
    "size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 7, 9 * PART + 7]
)
async def test_what_goes_in_is_the_object(
    storage: MemoryStorage, small_parts: Settings, size: int
) -> None:
    pieces = chunks(size)
    progress = Progress()
    async with open_multipart_upload(storage, KEY, small_parts, progress) as sink:
        for piece in pieces:
            await sink.write(piece)
        await sink.finish()
    assert storage.objects[KEY] == b"".join(pieces)
    assert progress.bytes == size
    assert storage.uploads == {}


@pytest.mark.parametrize("size", [6, PART])
async def test_up_to_one_part_is_one_request(
    storage: MemoryStorage, small_parts: Settings, size: int
) -> None:
    storage.before = fails("create_upload", StorageUnavailable("no upload is needed"))
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        await sink.write(bytes(size))
        await sink.finish()
    assert storage.objects[KEY] == bytes(size)


async def test_all_parts_but_the_last_are_equally_large(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    """Some stores, Cloudflare's for one, take no others."""
    sizes: list[int] = []

    async def note(method: str) -> None:
        if method == "complete_upload":
            (upload,) = storage.uploads.values()
            sizes.extend(len(upload.parts[number]) for number in sorted(upload.parts))

    storage.before = note
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        for piece in chunks(3 * PART + 7):
            await sink.write(piece)
        await sink.finish()
    assert sizes == [PART, PART, PART, 7]


async def test_parts_that_are_stored_out_of_order_stay_whole(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    """A part's memory is filled again, but not before the store has all of it."""
    waits = itertools.cycle((0.02, 0.0, 0.01))

    async def wait(method: str) -> None:
        if method == "upload_part":
            await asyncio.sleep(next(waits))

    storage.before = wait
    pieces = chunks(9 * PART + 7)
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        for piece in pieces:
            await sink.write(piece)
        await sink.finish()
    assert storage.objects[KEY] == b"".join(pieces)


async def test_no_more_parts_are_under_way_than_allowed(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    under_way, most = 0, 0

    async def count(method: str) -> None:
        nonlocal under_way, most
        if method == "upload_part":
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1

    storage.before = count
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        for piece in chunks(8 * PART, PART):
            await sink.write(piece)
        await sink.finish()
    assert most == small_parts.parts_in_flight


@pytest.mark.parametrize("method", ["create_upload", "upload_part", "complete_upload"])
async def test_a_failing_store_raises_its_error_and_leaves_no_upload(
    storage: MemoryStorage, small_parts: Settings, method: str
) -> None:
    storage.before = fails(method, StorageUnavailable("down"))
    with pytest.raises(StorageUnavailable, match="down"):
        async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
            for piece in chunks(6 * PART, PART):
                await sink.write(piece)
            await sink.finish()
    assert storage.uploads == {}
    assert storage.objects == {}


async def test_a_failing_part_stops_a_body_that_waits_for_more_bytes(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    storage.before = fails("upload_part", StorageUnavailable("down"))
    with pytest.raises(StorageUnavailable):
        async with (
            asyncio.timeout(5),
            open_multipart_upload(storage, KEY, small_parts, Progress()) as sink,
        ):
            await sink.write(bytes(PART + 1))
            await asyncio.Event().wait()
    assert storage.uploads == {}


async def test_a_cancel_aborts_the_upload(storage: MemoryStorage, small_parts: Settings) -> None:
    begun = asyncio.Event()

    async def write_and_wait() -> None:
        async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
            await sink.write(bytes(PART + 1))
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert storage.uploads == {}


async def test_an_upload_whose_beginning_was_repeated_leaves_no_twin(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    """The store began one, its answer was lost, and the client asked once more."""
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        await sink.write(bytes(PART + 1))
        await storage.create_upload(KEY)
        await sink.finish()
    assert len(storage.objects[KEY]) == PART + 1
    assert storage.uploads == {}


async def test_an_abort_that_fails_does_not_hide_why(
    storage: MemoryStorage, small_parts: Settings
) -> None:
    storage.before = fails("abort_upload", StorageUnavailable("abort failed"))
    with pytest.raises(ValueError, match="the cause"):
        async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
            await sink.write(bytes(PART + 1))
            raise ValueError("the cause")


def test_the_estimate_decides_the_size_of_all_parts() -> None:
    assert part_size(PART, 0) == PART
    assert part_size(PART, 200_000_000) == PART
    assert 10_000 * part_size(PART, 2_000_000_000) >= 2_000_000_000 * ROW_BYTES_MAX


async def test_the_1001st_part_is_as_large_as_the_first(
    storage: MemoryStorage, small_parts: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.exports.execution.multipart_upload.part_size", lambda *_: 4)
    async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
        await sink.write(bytes(4 * 1005))
        await asyncio.gather(*sink._parts)
        (upload,) = storage.uploads.values()
    assert {len(part) for part in upload.parts.values()} == {4}
    assert len(upload.parts) > 1001


async def test_more_parts_than_s3_takes_are_refused(
    storage: MemoryStorage, small_parts: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.exports.execution.multipart_upload.PARTS_MAX", 2)
    with pytest.raises(StorageRefused, match="PART_BYTES"):
        async with open_multipart_upload(storage, KEY, small_parts, Progress()) as sink:
            await sink.write(bytes(3 * PART + 1))
