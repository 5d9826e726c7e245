"""Every byte is proved: what is damaged on the way is refused, sent again, or found out."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from app.adapters.s3.client import TRIES
from app.adapters.s3.errors import NotImplementedByStore
from app.adapters.s3.integrity import ChecksumHeader, verify_body, verify_object
from app.adapters.s3.storage import S3Storage, SentBody, open_storage
from app.checksums import Crc32c
from app.errors import FileDamaged
from devstack.s3 import Store
from tests.adapters.settings import settings_with
from tests.proxy import Fault, Flip, Proxy, open_proxy

ROW = b"ann@example.com,2026-11-22 13:54:05\n"
BODY = ROW * 200
CHECKSUM = Crc32c.of(BODY)
SHOWN_BYTES = 20
"""How much of a body names the byte that is flipped: more than a header could match."""

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.fixture(params=["moto_store", pytest.param("ceph_store", marks=pytest.mark.ceph)])
def store(request: pytest.FixtureRequest) -> Store:
    """The embedded store, which verifies checksums, and Ceph's, which knows none."""
    store: Store = request.getfixturevalue(request.param)
    return store


@pytest.fixture
async def proxy(store: Store) -> AsyncIterator[Proxy]:
    """A proxy in front of the store that flips a byte of the first body."""
    port = urlsplit(store.endpoint_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
def damage(proxy: Proxy) -> Fault:
    """A byte of the first body is flipped on its way."""
    return proxy.fault(Flip(), on=ROW)


@pytest.fixture
async def storage(store: Store, proxy: Proxy) -> AsyncIterator[S3Storage]:
    """The bucket through the proxy; no signature covers the bodies."""
    url = f"http://127.0.0.1:{proxy.port}"
    settings = settings_with(s3_endpoint_url=url, s3_bucket=store.bucket)
    async with open_storage(settings) as storage:
        yield storage


async def test_a_damaged_body_is_sent_again(
    storage: S3Storage, store: Store, damage: Fault
) -> None:
    await storage.put("list.csv", BODY)
    assert damage.struck == 1
    assert content(store) == BODY


async def test_a_damaged_part_is_sent_again_within_the_upload(
    storage: S3Storage, store: Store, damage: Fault
) -> None:
    upload_id = await storage.create_upload("list.csv")
    part = await storage.upload_part("list.csv", upload_id, 1, BODY)
    assert await storage.complete_upload("list.csv", upload_id, [part]) == CHECKSUM
    assert damage.struck == 1
    assert content(store) == BODY


@pytest.mark.parametrize("uploads", [20, pytest.param(1000, marks=pytest.mark.slow)])
async def test_every_flipped_byte_is_caught(
    storage: S3Storage, store: Store, proxy: Proxy, uploads: int
) -> None:
    dice = random.Random(uploads)
    caught = 0
    for number in range(uploads):
        body = b"".join(b"%d@x.co,%d\n" % (row, number) for row in range(dice.randint(4, 500)))
        at = dice.randrange(len(body) - SHOWN_BYTES)
        damage = proxy.fault(Flip(), on=re.escape(body[at : at + SHOWN_BYTES]))
        await (upload_part if number % 2 else upload_whole)(storage, body)
        caught += damage.struck == 1 and content(store) == body
    assert caught == uploads


async def upload_whole(storage: S3Storage, body: bytes) -> None:
    """Store a small object."""
    await storage.put("list.csv", body)


async def upload_part(storage: S3Storage, body: bytes) -> None:
    """Store an object of one part."""
    upload_id = await storage.create_upload("list.csv")
    part = await storage.upload_part("list.csv", upload_id, 1, body)
    await storage.complete_upload("list.csv", upload_id, [part])


def content(store: Store) -> bytes:
    """Return what the store has."""
    with store.client() as client:
        found: bytes = client.get_object(Bucket=store.bucket, Key="list.csv")["Body"].read()
    return found


async def test_a_body_that_is_damaged_each_time_is_no_file(
    storage: S3Storage, proxy: Proxy
) -> None:
    damage = proxy.fault(Flip(), on=ROW, times=None)
    with pytest.raises(FileDamaged):
        await storage.put("list.csv", BODY)
    assert damage.struck == TRIES


async def test_parts_in_flight_are_sent_again_to_a_store_without_the_header(
    storage: S3Storage,
) -> None:
    has_begun = asyncio.Barrier(2)

    async def send(checksum: ChecksumHeader) -> dict[str, str]:
        if checksum:
            await has_begun.wait()
            raise NotImplementedByStore("The file storage does not implement this request.")
        return {"ETag": '"opaque"'}

    answers = await asyncio.gather(*(storage._send(BODY, send) for _ in range(2)))
    assert answers == [SentBody({"ETag": '"opaque"'}, CHECKSUM, False)] * 2


async def test_the_whole_object_is_compared_by_size_or_checksum(storage: S3Storage) -> None:
    upload_id = await storage.create_upload("list.csv")
    part = await storage.upload_part("list.csv", upload_id, 1, BODY)
    with pytest.raises(FileDamaged):
        await storage.complete_upload("list.csv", upload_id, [replace(part, bytes=part.bytes + 1)])


async def test_the_stores_own_checksum_is_compared() -> None:
    right = {"ChecksumCRC32C": str(CHECKSUM), "ETag": "x"}
    assert await verify_body(BODY, CHECKSUM, right)
    with pytest.raises(FileDamaged):
        await verify_body(BODY, CHECKSUM, {"ChecksumCRC32C": "AAAAAA=="})
    assert verify_object(CHECKSUM, right)
    with pytest.raises(FileDamaged):
        verify_object(CHECKSUM, {"ChecksumCRC32C": "AAAAAA==", "ChecksumType": "FULL_OBJECT"})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ETag": '"opaque-1"'},
        {"ETag": MD5, "ServerSideEncryption": "aws:kms"},
        {"ETag": MD5, "ServerSideEncryption": "aws:kms:dsse"},
        {"ETag": MD5, "SSECustomerAlgorithm": "AES256"},
    ],
)
async def test_an_etag_that_is_no_md5_proves_nothing(answer: dict[str, str]) -> None:
    assert not await verify_body(BODY, CHECKSUM, answer)


@pytest.mark.parametrize(
    "answer", [{}, {"ChecksumCRC32C": "AAAAAA==-3"}, {"ChecksumType": "COMPOSITE"}]
)
def test_a_checksum_of_checksums_is_not_the_objects(answer: dict[str, str]) -> None:
    assert not verify_object(CHECKSUM, answer)
