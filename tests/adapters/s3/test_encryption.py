"""Encryption at rest, asked for as S3_SSE says, for small objects and large ones."""

import httpx
import pytest
from pydantic import ValidationError

from app.adapters.s3.storage import encryption
from devstack.s3 import Store
from tests.adapters.conftest import OpenStore, open_store
from tests.adapters.settings import settings_with

KEY_OF_STORE = "testkey-1"
"""The one key that devstack's Ceph knows."""


async def store_both_ways(bucket: OpenStore) -> None:
    await bucket.storage.put("small.csv", b"Email\n")
    upload_id = await bucket.storage.create_upload("large.csv")
    part = await bucket.storage.upload_part("large.csv", upload_id, 1, b"Email\n")
    await bucket.storage.complete_upload("large.csv", upload_id, [part])


def heads(bucket: OpenStore) -> list[tuple[str | None, str | None]]:
    answers = [
        bucket.client.head_object(Bucket=bucket.store.bucket, Key=key)
        for key in ("small.csv", "large.csv")
    ]
    return [(each.get("ServerSideEncryption"), each.get("SSEKMSKeyId")) for each in answers]


@pytest.mark.parametrize(
    ("sse", "arguments"),
    [
        (None, {}),
        ("AES256", {"ServerSideEncryption": "AES256"}),
        ("aws:kms", {"ServerSideEncryption": "aws:kms"}),
        ("aws:kms:k1", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k1"}),
        (
            "aws:kms:arn:aws:kms:eu-central-1:1:key/2",
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-central-1:1:key/2"},
        ),
    ],
)
def test_the_setting_becomes_arguments(sse: str | None, arguments: dict[str, str]) -> None:
    assert encryption(sse) == arguments


@pytest.mark.parametrize("sse", ["aes256", "none", "aws:kms:", "aws:kmsk1", "AES256\n"])
def test_another_word_is_refused_at_start(sse: str) -> None:
    with pytest.raises(ValidationError):
        settings_with(s3_sse=sse)


async def test_objects_are_encrypted_with_the_stores_own_key(moto_store: Store) -> None:
    async with open_store(moto_store, s3_sse="AES256") as bucket:
        await store_both_ways(bucket)
        assert heads(bucket) == [("AES256", None)] * 2


@pytest.mark.ceph
async def test_objects_are_encrypted_with_the_key_that_is_named(ceph_store: Store) -> None:
    async with open_store(ceph_store, s3_sse=f"aws:kms:{KEY_OF_STORE}") as bucket:
        await store_both_ways(bucket)
        assert heads(bucket) == [("aws:kms", KEY_OF_STORE)] * 2
        assert [bucket.read(key) for key in ("small.csv", "large.csv")] == [b"Email\n"] * 2


@pytest.mark.ceph
async def test_nobody_reads_an_object_without_a_signature(ceph_store: Store) -> None:
    async with open_store(ceph_store) as bucket:
        await store_both_ways(bucket)
        acl = bucket.client.get_object_acl(Bucket=ceph_store.bucket, Key="small.csv")
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert [grant["Grantee"]["Type"] for grant in acl["Grants"]] == ["CanonicalUser"]
    bucket_url = f"{ceph_store.endpoint_url}/{ceph_store.bucket}"
    async with httpx.AsyncClient(trust_env=False) as anyone:
        for name in ("small.csv", "large.csv", ""):
            assert (await anyone.get(f"{bucket_url}/{name}")).status_code == 403
