"""The bucket: refusals named one by one, and nothing left behind after any of them."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.doctor import bucket, clock
from devstack import settings as stack_settings
from devstack.s3 import Store
from tests.doctor.installation import Installation, failed, found, warned
from tests.proxy import Answer, Hang, Proxy, open_proxy

DENIED = Answer(403, b"<Error><Code>AccessDenied</Code></Error>")


@pytest.fixture
async def proxy(installation: Installation, moto_store: Store) -> AsyncIterator[Proxy]:
    """A proxy before the installation's store."""
    port = urlsplit(moto_store.endpoint_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        installation.change(S3_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        yield proxy


def left(store: Store) -> dict[str, Any]:
    """Return everything there is in a bucket: versions, markers, uploads."""
    with store.client() as client:
        versions = client.list_object_versions(Bucket=store.bucket)
        uploads = client.list_multipart_uploads(Bucket=store.bucket)
    kinds = ("Versions", "DeleteMarkers", "Uploads")
    return {kind: (versions | uploads)[kind] for kind in kinds if kind in versions | uploads}


REFUSALS = {
    "bucket.objects": rb"^PUT /[^ ]*doctor-\w+ ",
    "bucket.links": rb"^GET /[^ ]*X-Amz-Signature",
    "bucket.delete": rb"^DELETE /[^ ]*versionId",
    "bucket.multipart": rb"^POST /[^ ]*uploads",
}


@pytest.mark.parametrize("check", REFUSALS)
async def test_what_is_denied_is_named_and_nothing_else(
    installation: Installation, proxy: Proxy, moto_store: Store, check: str
) -> None:
    refused = proxy.fault(DENIED, on=REFUSALS[check], times=1)
    findings = await installation.run_checks()
    assert refused.struck == 1
    assert failed(findings) == [check]
    assert found(findings, check).advice
    assert left(moto_store) == {}


async def test_a_bucket_that_is_not_there_is_named_so(installation: Installation) -> None:
    installation.change(S3_BUCKET="nobody-made-it")
    findings = await installation.run_checks()
    assert failed(findings) == ["bucket"]
    assert "does not exist" in found(findings, "bucket").detail


async def test_a_bucket_that_denies_everything_is_one_failure(
    installation: Installation, proxy: Proxy
) -> None:
    proxy.fault(DENIED, on=rb"^\w+ /\w", times=None)
    assert failed(await installation.run_checks()) == ["bucket"]


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
async def test_nothing_stays_behind(
    installation: Installation, moto_store: Store, versioned: bool
) -> None:
    if versioned:
        with moto_store.client() as client:
            client.put_bucket_versioning(
                Bucket=moto_store.bucket, VersioningConfiguration={"Status": "Enabled"}
            )
    findings = await installation.run_checks(bucket.CHECK)
    assert (failed(findings), warned(findings)) == ([], [])
    assert found(findings, "bucket.versions").detail.startswith("Versioning is on") is versioned
    assert left(moto_store) == {}


@pytest.mark.ceph
async def test_a_store_that_checks_signatures_is_well_too(
    installation: Installation, ceph_store: Store
) -> None:
    installation.change(**stack_settings.store_settings(ceph_store))
    findings = await installation.run_checks(bucket.CHECK, clock.CHECK)
    assert failed(findings) == []
    assert set(warned(findings)) <= {"bucket.lifecycle", "bucket.public"}
    assert left(ceph_store) == {}


@pytest.mark.ceph
async def test_a_wrong_secret_key_is_the_buckets_failure(
    installation: Installation, ceph_store: Store
) -> None:
    installation.change(
        **stack_settings.store_settings(ceph_store) | {"AWS_SECRET_ACCESS_KEY": "hush-hush"}
    )
    assert failed(await installation.run_checks(bucket.CHECK, clock.CHECK)) == ["bucket"]


async def test_nothing_stays_behind_when_the_time_is_over(
    installation: Installation, proxy: Proxy, moto_store: Store
) -> None:
    hang = proxy.fault(Hang(), on=rb"^PUT /[^ ]*partNumber")
    findings = await installation.run_checks(bucket.CHECK, timeout_s=5)
    assert hang.struck == 1
    assert failed(findings) == ["bucket"]
    assert left(moto_store) == {}


async def test_a_public_address_that_is_out_of_our_reach_is_a_warning(
    installation: Installation,
) -> None:
    installation.change(S3_PUBLIC_ENDPOINT_URL="http://127.0.0.1:9")
    findings = await installation.run_checks(bucket.CHECK)
    assert (failed(findings), warned(findings)) == ([], ["bucket.links"])


async def test_a_bucket_as_it_was_made_is_warned_of(
    installation: Installation, moto_store: Store
) -> None:
    with moto_store.client() as client:
        client.delete_public_access_block(Bucket=moto_store.bucket)
        client.delete_bucket_lifecycle(Bucket=moto_store.bucket)
    findings = await installation.run_checks(bucket.CHECK)
    assert failed(findings) == []
    assert warned(findings) == ["bucket.lifecycle", "bucket.public"]
    assert found(findings, "bucket.lifecycle").advice == "run: audience-export bucket setup"


UNTOLD = {
    "bucket.lifecycle": rb"^GET /[^ ]*lifecycle",
    "bucket.public": rb"^GET /[^ ]*publicAccessBlock",
    "bucket.versions": rb"^GET /[^ ]*versioning",
    "bucket.lock": rb"^GET /[^ ]*object-lock",
}


@pytest.mark.parametrize("check", UNTOLD)
async def test_what_the_store_does_not_tell_is_no_failure(
    installation: Installation, proxy: Proxy, check: str
) -> None:
    proxy.fault(DENIED, on=UNTOLD[check], times=None)
    findings = await installation.run_checks(bucket.CHECK)
    assert failed(findings) == []
    assert set(warned(findings)) <= {check}


async def test_locks_by_default_are_warned_of(
    installation: Installation, moto_store: Store
) -> None:
    name = f"{moto_store.bucket}-locked"
    with moto_store.client() as client:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        client.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
            },
        )
    installation.change(S3_BUCKET=name)
    assert "bucket.lock" in warned(await installation.run_checks(bucket.CHECK))


async def test_a_prefix_that_is_no_folder_gets_no_rule(installation: Installation) -> None:
    installation.change(S3_PREFIX="exp")
    findings = await installation.run_checks(bucket.CHECK)
    assert failed(findings) == []
    assert "S3_PREFIX" in found(findings, "bucket.lifecycle").detail
