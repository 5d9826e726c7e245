"""The object store over a bad network: a proxy before moto breaks what it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from app.adapters.s3 import storage as s3
from app.adapters.s3.bounded_responses import ANSWER_BYTES_MAX
from app.adapters.s3.client import SPARE_CONNECTIONS, TRIES
from app.adapters.s3.storage import S3Storage
from app.errors import FileRemains, ObjectNotFound, ServiceError, StorageRefused, StorageUnavailable
from devstack.s3 import MotoServer, Store
from tests.adapters.conftest import OpenStore, open_store, set_versioning
from tests.hostile import hostile_peer, measured_memory
from tests.polling import HANGS_S, until
from tests.proxy import Action, Answer, Close, CutAnswer, Hang, Proxy, Reset, open_proxy

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
class ProxiedStore:
    """A store behind a proxy."""

    storage: S3Storage
    proxy: Proxy
    bucket: OpenStore

    def stored(self) -> bytes | None:
        """Return the object, read around the proxy."""
        return self.bucket.read(KEY)

    async def is_quiet(self) -> bool:
        """Return whether nobody is connected."""
        return self.proxy.open_connections == 0

    async def has_put(self) -> bool:
        """Return whether somebody stored something, or tried."""
        return self.proxy.count(PUT) > 0


@asynccontextmanager
async def open_proxied_store(store: Store, **settings: int) -> AsyncIterator[ProxiedStore]:
    port = urlsplit(store.endpoint_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        async with open_store(store, s3_endpoint_url=address, **settings) as bucket:
            yield ProxiedStore(bucket.storage, proxy, bucket)


@pytest.fixture(scope="module")
async def shared_store(moto: MotoServer) -> AsyncIterator[ProxiedStore]:
    async with open_proxied_store(moto.store()) as proxied:
        yield proxied


@pytest.fixture
async def proxied(shared_store: ProxiedStore) -> AsyncIterator[ProxiedStore]:
    """The proxied as if it were new: no fault, no connection, no object."""
    yield shared_store
    shared_store.proxy.heal()
    shared_store.proxy.drop()
    shared_store.proxy.seen.clear()
    await shared_store.storage.delete(KEY)


@pytest.mark.parametrize(
    "hiccup",
    [SLOW_DOWN, INTERNAL_ERROR, REQUEST_TIMEOUT, Reset(), Close(), Reset(50_000)],
    ids=repr,
)
async def test_a_hiccup_goes_unnoticed_and_harms_no_byte(
    proxied: ProxiedStore, hiccup: Action
) -> None:
    proxied.proxy.fault(hiccup, on=PUT, times=1)

    await proxied.storage.put(KEY, PART)

    assert proxied.stored() == PART
    assert proxied.proxy.count(PUT) == 2


@pytest.mark.parametrize(
    "trouble", [SLOW_DOWN, INTERNAL_ERROR, Reset(), Close(), CutAnswer(10)], ids=repr
)
async def test_lasting_trouble_may_pass_later(proxied: ProxiedStore, trouble: Action) -> None:
    proxied.proxy.fault(trouble, on=PUT, times=None)

    with pytest.raises(StorageUnavailable) as raised:
        await proxied.storage.put(KEY, b"Email\n")

    assert TRIES <= proxied.proxy.count(PUT) <= 2 * TRIES  # aiohttp repeats once by itself
    assert_fit_for_users(raised.value, proxied)


def assert_fit_for_users(error: ServiceError, proxied: ProxiedStore) -> None:
    text = str(error)
    assert text.startswith("The file storage")
    assert all(
        secret not in text
        for secret in ("127.0.0.1", "s3.internal", "http", proxied.bucket.store.bucket, KEY)
    )


async def test_too_many_requests_is_for_the_next_attempt(proxied: ProxiedStore) -> None:
    proxied.proxy.fault(TOO_MANY, on=PUT, times=1)

    with pytest.raises(StorageUnavailable):
        await proxied.storage.put(KEY, b"Email\n")


async def test_a_denied_request_is_refused_at_once(proxied: ProxiedStore) -> None:
    denied = Answer(403, b"<Error><Code>AccessDenied</Code><Message>arn:aws</Message></Error>")
    proxied.proxy.fault(denied, on=PUT, times=None)

    with pytest.raises(StorageRefused, match="denies") as raised:
        await proxied.storage.put(KEY, b"Email\n")

    assert proxied.proxy.count(PUT) == 1
    assert "arn:aws" not in str(raised.value)


async def test_a_store_that_is_down_is_unavailable_and_comes_back(proxied: ProxiedStore) -> None:
    await proxied.storage.check()
    await proxied.proxy.stop()

    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        await proxied.storage.check()

    await proxied.proxy.start()
    await proxied.storage.check()


async def test_a_store_that_hangs_fails_the_check_within_seconds(proxied: ProxiedStore) -> None:
    proxied.proxy.fault(Hang(), times=None)

    async with asyncio.timeout(HANGS_S):
        with pytest.raises(StorageUnavailable, match="in time"):
            await proxied.storage.check()


async def test_connections_that_idled_too_long_are_replaced(proxied: ProxiedStore) -> None:
    await proxied.storage.put(KEY, b"old")
    proxied.proxy.drop()

    await proxied.storage.put(KEY, b"new")

    assert proxied.stored() == b"new"


@pytest.mark.parametrize(
    "hiccup", [CutAnswer(), CutAnswer(10), ERROR_AFTER_ALL, NOT_S3, SLOW_DOWN], ids=repr
)
async def test_completing_survives_a_lost_or_false_answer(
    proxied: ProxiedStore, hiccup: Action
) -> None:
    upload_id = await proxied.storage.create_upload(KEY)
    parts = [
        await proxied.storage.upload_part(KEY, upload_id, number, body)
        for number, body in enumerate((PART, b"tail"), start=1)
    ]
    proxied.proxy.fault(hiccup, on=COMPLETE, times=1)

    await proxied.storage.complete_upload(KEY, upload_id, parts)

    assert proxied.stored() == PART + b"tail"


async def test_an_upload_that_is_gone_is_complete_if_its_object_is_there(
    proxied: ProxiedStore,
) -> None:
    upload_id = await proxied.storage.create_upload(KEY)
    part = await proxied.storage.upload_part(KEY, upload_id, 1, b"tail")
    await proxied.storage.complete_upload(KEY, upload_id, [part])
    proxied.proxy.fault(GONE, on=COMPLETE)

    await proxied.storage.complete_upload(KEY, upload_id, [part])


async def test_an_upload_that_is_gone_without_an_object_is_missing(proxied: ProxiedStore) -> None:
    upload_id = await proxied.storage.create_upload(KEY)
    part = await proxied.storage.upload_part(KEY, upload_id, 1, b"tail")
    proxied.proxy.fault(GONE, on=COMPLETE)

    with pytest.raises(ObjectNotFound):
        await proxied.storage.complete_upload(KEY, upload_id, [part])


async def test_a_store_without_versions_gets_a_plain_delete(proxied: ProxiedStore) -> None:
    await proxied.storage.put(KEY, b"Email\n")
    unknown = Answer(501, b"<Error><Code>NotImplemented</Code></Error>")
    proxied.proxy.fault(unknown, on=rb"^GET \S*versions", times=None)

    await proxied.storage.delete(KEY)

    assert proxied.stored() is None


NO_VERSIONS = Answer(
    200, b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
)
VERSIONS = rb"^GET \S*versions"


async def test_a_store_that_lists_no_versions_erases_the_object_all_the_same(
    proxied: ProxiedStore,
) -> None:
    await proxied.storage.put(KEY, b"Email\n")
    proxied.proxy.fault(NO_VERSIONS, on=VERSIONS, times=None)

    await proxied.storage.delete(KEY)

    assert proxied.stored() is None


async def test_a_store_that_lists_no_versions_and_has_some_erases_each_that_is_seen(
    moto_store: Store,
) -> None:
    async with open_proxied_store(moto_store) as proxied:
        set_versioning(proxied.bucket, "Enabled")
        for body in (b"old", b"new"):
            await proxied.storage.put(KEY, body)
        proxied.proxy.fault(NO_VERSIONS, on=VERSIONS, times=None)

        await proxied.storage.delete(KEY)

        left = proxied.bucket.client.list_object_versions(Bucket=moto_store.bucket)
        assert "Versions" not in left
        assert "DeleteMarkers" not in left


@pytest.mark.parametrize("lists", [True, False])
async def test_an_object_that_the_store_keeps_is_not_called_deleted(
    proxied: ProxiedStore, lists: bool
) -> None:
    await proxied.storage.put(KEY, b"Email\n")
    proxied.proxy.fault(Answer(204), on=rb"^DELETE", times=None)
    if not lists:
        proxied.proxy.fault(NO_VERSIONS, on=VERSIONS, times=None)

    with pytest.raises(FileRemains):
        await proxied.storage.delete(KEY)

    assert proxied.stored() == b"Email\n"
    proxied.proxy.heal()
    await proxied.storage.delete(KEY)
    assert proxied.stored() is None


async def test_an_object_that_is_only_hidden_is_not_called_deleted(moto_store: Store) -> None:
    async with open_proxied_store(moto_store) as proxied:
        set_versioning(proxied.bucket, "Enabled")
        await proxied.storage.put(KEY, b"Email\n")
        proxied.bucket.client.delete_object(Bucket=moto_store.bucket, Key=KEY)
        proxied.proxy.fault(Answer(204), on=rb"^DELETE", times=None)

        with pytest.raises(FileRemains):
            await proxied.storage.delete(KEY)

        proxied.proxy.heal()
        await proxied.storage.delete(KEY)
        left = proxied.bucket.client.list_object_versions(Bucket=moto_store.bucket)
        assert "Versions" not in left
        assert "DeleteMarkers" not in left


async def test_a_version_that_somebody_else_erased_is_no_trouble(proxied: ProxiedStore) -> None:
    await proxied.storage.put(KEY, b"Email\n")
    erased = Answer(404, b"<Error><Code>NoSuchVersion</Code></Error>")
    proxied.proxy.fault(erased, on=rb"^DELETE")

    await proxied.storage.delete(KEY)


async def test_a_200_with_an_error_inside_is_an_error(proxied: ProxiedStore) -> None:
    upload_id = await proxied.storage.create_upload(KEY)
    part = await proxied.storage.upload_part(KEY, upload_id, 1, b"tail")
    proxied.proxy.fault(ERROR_AFTER_ALL, on=COMPLETE, times=None)

    with pytest.raises(StorageUnavailable):
        await proxied.storage.complete_upload(KEY, upload_id, [part])

    assert await proxied.storage.head(KEY) is None


async def test_a_cancelled_part_leaves_no_task_and_no_connection(proxied: ProxiedStore) -> None:
    upload_id = await proxied.storage.create_upload(KEY)
    await until(proxied.is_quiet)
    before = asyncio.all_tasks()
    proxied.proxy.fault(Hang(), on=PUT, times=None)
    part = asyncio.create_task(proxied.storage.upload_part(KEY, upload_id, 1, PART))
    await until(proxied.has_put)

    part.cancel()
    with pytest.raises(asyncio.CancelledError):
        await part

    proxied.proxy.drop()
    await until(proxied.is_quiet)
    assert asyncio.all_tasks() <= before


async def test_calls_share_a_bounded_number_of_connections(moto: MotoServer) -> None:
    small = {"parts_in_flight": 1, "worker_concurrency": 1}
    async with open_proxied_store(moto.store(), **small) as proxied:
        proxied.proxy.fault(Hang(), on=PUT, times=None)
        puts = [asyncio.create_task(proxied.storage.put(f"{n}", b"")) for n in range(30)]

        async def all_are_busy() -> bool:
            return proxied.proxy.count(PUT) >= 1 + SPARE_CONNECTIONS

        await until(all_are_busy)
        for put in puts:
            put.cancel()
        await asyncio.gather(*puts, return_exceptions=True)
        assert proxied.proxy.accepted == 1 + SPARE_CONNECTIONS


async def test_a_listing_goes_on_past_a_page(proxied: ProxiedStore) -> None:
    proxied.proxy.fault(page("1", more=True), on=rb"^GET \S*list-type=2")
    proxied.proxy.fault(page("2", more=False), on=rb"^GET \S*continuation-token=next")

    assert [item.key async for item in proxied.storage.list_objects("")] == ["1", "2"]


def page(key: str, *, more: bool) -> Answer:
    item = f"<Contents><Key>{key}</Key><LastModified>2026-11-22T00:00:00Z</LastModified></Contents>"
    token = "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"
    listing = f"<ListBucketResult>{token if more else ''}{item}</ListBucketResult>"
    return Answer(200, listing.encode())


async def test_bodies_are_sent_without_asking_first(proxied: ProxiedStore) -> None:
    """Where a proxy does not answer "Expect: 100-continue", aiohttp waits for ever."""
    await proxied.storage.put(KEY, PART)

    assert proxied.proxy.count(rb"(?i)\nexpect:") == 0


CHUNK = b"400\r\n" + b"x" * 1024 + b"\r\n"

ENDLESS_ANSWERS = {
    "error": (b"HTTP/1.1 500 Error\r\n\r\n<Error><Message>", b"x" * 65536),
    "refusal": (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK * 64),
    "list": (b"HTTP/1.1 200 OK\r\n\r\n<ListVersionsResult>", b"<Version/>" * 6000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n" * 5000),
    "noise": (b"", b"x" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS_ANSWERS)
async def test_an_answer_without_an_end_is_read_to_a_bound(moto: MotoServer, kind: str) -> None:
    async with hostile_peer(*ENDLESS_ANSWERS[kind]) as peer:
        address = f"http://127.0.0.1:{peer.port}"
        async with open_store(moto.store(), s3_endpoint_url=address) as bucket:
            for call in (bucket.storage.head(KEY), bucket.storage.create_upload(KEY)):
                with measured_memory() as memory, pytest.raises(StorageUnavailable):
                    await call
                assert memory.peak < 8 * ANSWER_BYTES_MAX


async def test_an_answer_that_drips_is_given_up_in_time(
    moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "CALL_TIMEOUT_S", 1.0)
    async with hostile_peer(b"HTTP/1.1 200 OK\r\n\r\n", b" ", pause_s=0.05) as peer:
        address = f"http://127.0.0.1:{peer.port}"
        async with open_store(moto.store(), s3_endpoint_url=address) as bucket:
            with pytest.raises(StorageUnavailable, match="in time"):
                await bucket.storage.create_upload(KEY)
