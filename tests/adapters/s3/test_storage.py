"""What S3 alone does: signed addresses, versions, refusals, credentials."""

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.adapters.s3.client import uses_temporary_credentials
from app.adapters.s3.storage import S3Storage, open_storage
from app.errors import StorageRefused, StorageUnavailable
from app.file_headers import CSV_TYPE, XLSX_TYPE, content_disposition
from devstack.ceph import CephServer
from devstack.s3 import Store
from tests.adapters.conftest import OpenStore, open_store, set_versioning
from tests.adapters.settings import settings_for, settings_with
from tests.polling import until

KEY = "exports/1/list.csv"
NAME = "audience-1-2026-11-22.csv"


@pytest.fixture
def storage(bucket: OpenStore) -> S3Storage:
    return bucket.storage


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url)


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def test_a_presigned_url_downloads_under_the_files_name(storage: S3Storage) -> None:
    await storage.put(KEY, b"Email\n")

    answer = await get(await storage.presigned_url(KEY, NAME, 300))

    assert (answer.status_code, answer.content) == (200, b"Email\n")
    assert answer.headers["content-disposition"] == f'attachment; filename="{NAME}"'
    assert answer.headers["content-type"] == CSV_TYPE


async def test_urls_are_signed_with_version_4(storage: S3Storage) -> None:
    signed = query(await storage.presigned_url(KEY, NAME, 604_800))

    assert signed["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert re.fullmatch("[0-9a-f]{64}", signed["X-Amz-Signature"])
    assert signed["X-Amz-Expires"] == "604800"
    assert "AWSAccessKeyId" not in signed


@pytest.mark.ceph
@pytest.mark.parametrize(
    "change",
    [
        (r"X-Amz-Signature=.{4}", "X-Amz-Signature=0000"),
        (r"X-Amz-Expires=300", "X-Amz-Expires=604800"),
        (r"list\.csv", "list.csv.bak"),
        (r"response-content-type=text%2Fcsv", "response-content-type=text%2Fhtml"),
    ],
)
async def test_a_changed_url_opens_nothing(open_ceph: OpenStore, change: tuple[str, str]) -> None:
    for key in (KEY, f"{KEY}.bak"):
        await open_ceph.storage.put(key, b"Email\n")
    url = await open_ceph.storage.presigned_url(KEY, NAME, 300)

    changed, times = re.subn(*change, url, count=1)

    assert times == 1
    assert (await get(changed)).status_code == 403


@pytest.mark.ceph
async def test_a_url_opens_nothing_after_its_time(open_ceph: OpenStore) -> None:
    await open_ceph.storage.put(KEY, b"Email\n")
    url = await open_ceph.storage.presigned_url(KEY, NAME, 2)
    assert (await get(url)).status_code == 200

    async def refused() -> bool:
        return (await get(url)).status_code == 403

    await until(refused)


async def test_urls_are_made_for_the_address_that_sellers_reach(moto_store: Store) -> None:
    settings = settings_for(moto_store, s3_public_endpoint_url="https://files.example.com")
    async with open_storage(settings) as storage:
        await storage.put(KEY, b"Email\n")
        url = await storage.presigned_url(KEY, NAME, 300)

    assert url.startswith(f"https://files.example.com/{moto_store.bucket}/{KEY}?")


@pytest.mark.parametrize(
    ("bucket", "address"),
    [
        ("lists", "https://lists.s3.eu-central-1.amazonaws.com/exports/1/list.csv?"),
        ("my.lists", "https://s3.eu-central-1.amazonaws.com/my.lists/exports/1/list.csv?"),
    ],
)
async def test_on_aws_the_bucket_names_the_host_where_certificates_allow(
    moto_store: Store, monkeypatch: pytest.MonkeyPatch, bucket: str, address: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    async with open_storage(settings_with(s3_bucket=bucket)) as storage:
        assert (await storage.presigned_url(KEY, NAME, 300)).startswith(address)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("list.csv", 'attachment; filename="list.csv"'),
        ('a"b\\c.csv', 'attachment; filename="a\\"b\\\\c.csv"'),
        ("a\r\nX: y.csv", 'attachment; filename="aX: y.csv"'),
        ("üñ.csv", "attachment; filename=\"__.csv\"; filename*=UTF-8''%C3%BC%C3%B1.csv"),
    ],
)
def test_file_names_cannot_leave_their_header(name: str, field: str) -> None:
    assert content_disposition(name) == field


@pytest.mark.parametrize(("extension", "kind"), [("csv", CSV_TYPE), ("xlsx", XLSX_TYPE)])
async def test_what_is_stored_has_the_type_of_its_extension(
    bucket: OpenStore, extension: str, kind: str
) -> None:
    name = f"audience-1-2026-11-22.{extension}"
    upload_id = await bucket.storage.create_upload("parts", name)
    part = await bucket.storage.upload_part("parts", upload_id, 1, b"Email\n")
    await bucket.storage.complete_upload("parts", upload_id, [part])
    await bucket.storage.put("small", b"Email\n", name)

    for key in ("parts", "small"):
        head = bucket.client.head_object(Bucket=bucket.store.bucket, Key=key)
        assert head["ContentType"] == kind
        answer = await get(await bucket.storage.presigned_url(key, name, 300))
        assert answer.headers["content-type"] == kind


async def test_type_and_name_are_stored_for_stores_that_ignore_those_of_a_url(
    bucket: OpenStore,
) -> None:
    """Some stores and caches drop ``response-content-disposition`` from a presigned URL."""
    upload_id = await bucket.storage.create_upload("parts.csv", NAME)
    part = await bucket.storage.upload_part("parts.csv", upload_id, 1, b"Email\n")
    await bucket.storage.complete_upload("parts.csv", upload_id, [part])
    await bucket.storage.put("small.csv", b"Email\n", NAME)

    for key in ("parts.csv", "small.csv"):
        head = bucket.client.head_object(Bucket=bucket.store.bucket, Key=key)
        assert head["ContentDisposition"] == f'attachment; filename="{NAME}"'


@pytest.mark.ceph
async def test_bytes_go_over_tls_to_a_store_that_is_trusted(
    ceph: CephServer, open_ceph: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS botocore would by default add trailers, which some stores refuse."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ceph.certificate.authority))
    async with open_store(open_ceph.store, s3_endpoint_url=ceph.tls_endpoint_url) as bucket:
        await bucket.storage.put("small.csv", b"Email\n")
        upload_id = await bucket.storage.create_upload(KEY)
        part = await bucket.storage.upload_part(KEY, upload_id, 1, b"a" * 1_000_000)
        await bucket.storage.complete_upload(KEY, upload_id, [part])

    assert open_ceph.read("small.csv") == b"Email\n"
    assert open_ceph.read(KEY) == b"a" * 1_000_000


@pytest.mark.ceph
async def test_a_store_that_nobody_vouches_for_gets_nothing(
    ceph: CephServer, open_ceph: OpenStore
) -> None:
    async with open_store(open_ceph.store, s3_endpoint_url=ceph.tls_endpoint_url) as bucket:
        with pytest.raises(StorageUnavailable):
            await bucket.storage.put("secret.csv", b"Email\n")


async def test_the_head_returns_the_size_or_that_there_is_nothing(storage: S3Storage) -> None:
    await storage.put(KEY, b"Email\n")

    assert await storage.head(KEY) == len(b"Email\n")
    assert await storage.head("exports/1/none.csv") is None


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
async def test_deleting_erases_every_version_and_marker(s3_store: Store, versioning: str) -> None:
    async with open_store(s3_store) as bucket:
        set_versioning(bucket, "Enabled")
        for body in (b"old", b"new"):
            await bucket.storage.put(KEY, body)
        bucket.client.delete_object(Bucket=s3_store.bucket, Key=KEY)
        await bucket.storage.put(KEY, b"newest")
        set_versioning(bucket, versioning)
        await bucket.storage.put(KEY, b"last")

        await bucket.storage.delete(KEY)

        left = bucket.client.list_object_versions(Bucket=s3_store.bucket)
        assert "Versions" not in left
        assert "DeleteMarkers" not in left


async def test_a_bucket_that_is_not_there_is_refused(s3_store: Store) -> None:
    async with open_store(s3_store, s3_bucket="there-is-no-such-bucket") as bucket:
        storage = bucket.storage
        for call in (storage.check(), storage.put(KEY, b""), storage.create_upload(KEY)):
            with pytest.raises(StorageRefused, match="bucket does not exist"):
                await call


@pytest.mark.ceph
@pytest.mark.parametrize(
    ("variable", "reason"),
    [("AWS_SECRET_ACCESS_KEY", "secret key"), ("AWS_ACCESS_KEY_ID", "access key")],
)
async def test_wrong_keys_are_refused_without_naming_them(
    ceph_store: Store, monkeypatch: pytest.MonkeyPatch, variable: str, reason: str
) -> None:
    monkeypatch.setenv(variable, "wrong-and-secret")
    async with open_storage(settings_for(ceph_store)) as storage:
        with pytest.raises(StorageRefused, match=reason) as raised:
            await storage.put(KEY, b"")
        with pytest.raises(StorageRefused):
            await storage.check()

    assert "wrong-and-secret" not in str(raised.value)


async def test_without_credentials_everything_is_refused(
    moto_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    async with open_storage(settings_for(moto_store)) as storage:
        with pytest.raises(StorageRefused, match="no credentials"):
            await storage.put(KEY, b"")


async def test_credentials_with_a_session_token_are_temporary(
    moto_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await uses_temporary_credentials()

    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    assert await uses_temporary_credentials()
