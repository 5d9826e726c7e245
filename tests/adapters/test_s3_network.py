"""The object store over a bad network: a proxy before moto breaks what it is told to."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from app.adapters.s3 import S3Storage
from app.adapters.s3_client import SPARE_CONNECTIONS, TRIES
from app.errors import ObjectMissing, ServiceError, StorageRefused, StorageUnavailable
from devstack.s3 import MotoServer, Store
from tests.adapters.conftest import OpenStore, open_store
from tests.proxy import Action, Answer, Close, CutAnswer, Hang, Proxy, Reset, open_proxy
from tests.waiting import until

KEY = "exports/1/list.csv"
PART = b"a" * 5 * 1024 * 1024
PUT = rb"^PUT /"
COMPLETE = rb"^POST /\S*uploadId="

SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code><Message>s3.internal</Message></Error>")
INTERNAL_ERROR = Answer(500, b"<Error><Code>InternalError</Code></Error>")
ERROR_AFTER_ALL = Answer(200, b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>")
NOT_S3 = Answer(200, b"<html><p>maintenance")
REQUEST_TIMEOUT = Answer(400, b"<Error><Code>RequestTimeout</Code></Error>")
GONE = Answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
TOO_MANY = Answer(429, b"")


@dataclass(frozen=True)
class Bench:
    """A storage behind a proxy."""

    storage: S3Storage
    proxy: Proxy
    opened: OpenStore

    def stored(self) -> bytes | None:
        """Return the object, read around the proxy."""
        return self.opened.read(KEY)

    async def is_quiet(self) -> bool:
        """Return whether nobody is connected."""
        return self.proxy.open_connections == 0

    async def has_put(self) -> bool:
        """Return whether somebody stored something, or tried."""
        return self.proxy.count(PUT) > 0


@asynccontextmanager
async def open_bench(store: Store, **settings: int) -> AsyncIterator[Bench]:
    port = urlsplit(store.endpoint_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        async with open_store(store, s3_endpoint_url=address, **settings) as opened:
            yield Bench(opened.storage, proxy, opened)


@pytest.fixture(scope="module")
async def shared_bench(moto: MotoServer) -> AsyncIterator[Bench]:
    async with open_bench(moto.store()) as bench:
        yield bench


@pytest.fixture
async def bench(shared_bench: Bench) -> AsyncIterator[Bench]:
    """The bench as if it were new: no fault, no connection, no object."""
    yield shared_bench
    shared_bench.proxy.heal()
    shared_bench.proxy.drop()
    shared_bench.proxy.seen.clear()
    await shared_bench.storage.delete(KEY)


@pytest.mark.parametrize(
    "hiccup",
    [SLOW_DOWN, INTERNAL_ERROR, REQUEST_TIMEOUT, Reset(), Close(), Reset(50_000)],
    ids=repr,
)
async def test_a_hiccup_goes_unnoticed_and_harms_no_byte(bench: Bench, hiccup: Action) -> None:
    bench.proxy.fault(hiccup, on=PUT, times=1)

    await bench.storage.put(KEY, PART)

    assert bench.stored() == PART
    assert bench.proxy.count(PUT) == 2


@pytest.mark.parametrize(
    "trouble", [SLOW_DOWN, INTERNAL_ERROR, Reset(), Close(), CutAnswer(10)], ids=repr
)
async def test_lasting_trouble_may_pass_later(bench: Bench, trouble: Action) -> None:
    bench.proxy.fault(trouble, on=PUT, times=None)

    with pytest.raises(StorageUnavailable) as raised:
        await bench.storage.put(KEY, b"Email\n")

    assert TRIES <= bench.proxy.count(PUT) <= 2 * TRIES  # aiohttp repeats once by itself
    assert_fit_for_users(raised.value, bench)


def assert_fit_for_users(error: ServiceError, bench: Bench) -> None:
    text = str(error)
    assert text.startswith("The file storage")
    assert all(
        secret not in text
        for secret in ("127.0.0.1", "s3.internal", "http", bench.opened.store.bucket, KEY)
    )


async def test_too_many_requests_is_for_the_next_attempt(bench: Bench) -> None:
    bench.proxy.fault(TOO_MANY, on=PUT, times=1)

    with pytest.raises(StorageUnavailable):
        await bench.storage.put(KEY, b"Email\n")


async def test_a_denied_request_is_refused_at_once(bench: Bench) -> None:
    denied = Answer(403, b"<Error><Code>AccessDenied</Code><Message>arn:aws</Message></Error>")
    bench.proxy.fault(denied, on=PUT, times=None)

    with pytest.raises(StorageRefused, match="denies") as raised:
        await bench.storage.put(KEY, b"Email\n")

    assert bench.proxy.count(PUT) == 1
    assert "arn:aws" not in str(raised.value)


async def test_a_store_that_is_down_is_unavailable_and_comes_back(bench: Bench) -> None:
    await bench.storage.check()
    await bench.proxy.stop()

    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        await bench.storage.check()

    await bench.proxy.start()
    await bench.storage.check()


async def test_a_store_that_hangs_fails_the_check_within_seconds(bench: Bench) -> None:
    bench.proxy.fault(Hang(), times=None)
    before = time.monotonic()

    with pytest.raises(StorageUnavailable, match="in time"):
        await bench.storage.check()

    assert time.monotonic() - before < 10


async def test_connections_that_idled_too_long_are_replaced(bench: Bench) -> None:
    await bench.storage.put(KEY, b"old")
    bench.proxy.drop()

    await bench.storage.put(KEY, b"new")

    assert bench.stored() == b"new"


@pytest.mark.parametrize(
    "hiccup", [CutAnswer(), CutAnswer(10), ERROR_AFTER_ALL, NOT_S3, SLOW_DOWN], ids=repr
)
async def test_completing_survives_a_lost_or_false_answer(bench: Bench, hiccup: Action) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    parts = [
        await bench.storage.upload_part(KEY, upload_id, number, body)
        for number, body in enumerate((PART, b"tail"), start=1)
    ]
    bench.proxy.fault(hiccup, on=COMPLETE, times=1)

    await bench.storage.complete_upload(KEY, upload_id, parts)

    assert bench.stored() == PART + b"tail"


async def test_an_upload_that_is_gone_is_complete_if_its_object_is_there(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    part = await bench.storage.upload_part(KEY, upload_id, 1, b"tail")
    await bench.storage.complete_upload(KEY, upload_id, [part])
    bench.proxy.fault(GONE, on=COMPLETE)

    await bench.storage.complete_upload(KEY, upload_id, [part])


async def test_an_upload_that_is_gone_without_an_object_is_missing(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    part = await bench.storage.upload_part(KEY, upload_id, 1, b"tail")
    bench.proxy.fault(GONE, on=COMPLETE)

    with pytest.raises(ObjectMissing):
        await bench.storage.complete_upload(KEY, upload_id, [part])


async def test_a_store_without_versions_is_asked_for_a_plain_delete(bench: Bench) -> None:
    await bench.storage.put(KEY, b"Email\n")
    unknown = Answer(501, b"<Error><Code>NotImplemented</Code></Error>")
    bench.proxy.fault(unknown, on=rb"^GET \S*versions", times=None)

    await bench.storage.delete(KEY)

    assert bench.stored() is None


async def test_a_version_that_somebody_else_erased_is_no_trouble(bench: Bench) -> None:
    await bench.storage.put(KEY, b"Email\n")
    erased = Answer(404, b"<Error><Code>NoSuchVersion</Code></Error>")
    bench.proxy.fault(erased, on=rb"^DELETE")

    await bench.storage.delete(KEY)


async def test_a_200_with_an_error_inside_is_an_error(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    part = await bench.storage.upload_part(KEY, upload_id, 1, b"tail")
    bench.proxy.fault(ERROR_AFTER_ALL, on=COMPLETE, times=None)

    with pytest.raises(StorageUnavailable):
        await bench.storage.complete_upload(KEY, upload_id, [part])

    assert await bench.storage.head(KEY) is None


async def test_a_cancelled_part_leaves_no_task_and_no_connection(bench: Bench) -> None:
    upload_id = await bench.storage.create_upload(KEY)
    await until(bench.is_quiet)
    before = asyncio.all_tasks()
    bench.proxy.fault(Hang(), on=PUT, times=None)
    part = asyncio.create_task(bench.storage.upload_part(KEY, upload_id, 1, PART))
    await until(bench.has_put)

    part.cancel()
    with pytest.raises(asyncio.CancelledError):
        await part

    bench.proxy.drop()
    await until(bench.is_quiet)
    assert asyncio.all_tasks() <= before


async def test_calls_share_a_bounded_number_of_connections(moto: MotoServer) -> None:
    small = {"export_streams": 1, "parts_in_flight": 1, "worker_concurrency": 1}
    async with open_bench(moto.store(), **small) as bench:
        bench.proxy.fault(Hang(), on=PUT, times=None)
        puts = [asyncio.create_task(bench.storage.put(f"{n}", b"")) for n in range(30)]

        async def all_are_busy() -> bool:
            return bench.proxy.count(PUT) >= 1 + SPARE_CONNECTIONS

        await until(all_are_busy)
        for put in puts:
            put.cancel()
        await asyncio.gather(*puts, return_exceptions=True)
        assert bench.proxy.opened == 1 + SPARE_CONNECTIONS


async def test_a_listing_goes_on_past_a_page(bench: Bench) -> None:
    bench.proxy.fault(page("1", more=True), on=rb"^GET \S*list-type=2")
    bench.proxy.fault(page("2", more=False), on=rb"^GET \S*continuation-token=next")

    assert [item.key async for item in bench.storage.list_objects("")] == ["1", "2"]


def page(key: str, *, more: bool) -> Answer:
    item = f"<Contents><Key>{key}</Key><LastModified>2026-11-22T00:00:00Z</LastModified></Contents>"
    token = "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"
    listing = f"<ListBucketResult>{token if more else ''}{item}</ListBucketResult>"
    return Answer(200, listing.encode())


async def test_bodies_are_sent_without_asking_first(bench: Bench) -> None:
    """Where a proxy does not answer "Expect: 100-continue", aiohttp waits for ever."""
    await bench.storage.put(KEY, PART)

    assert bench.proxy.count(rb"(?i)\nexpect:") == 0
