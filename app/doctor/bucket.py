"""The bucket: every operation of the service, tried on an object that is deleted afterwards."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from secrets import token_hex

import httpx

from app.adapters.s3.inspection import BucketInspection, open_inspection
from app.adapters.s3.storage import S3Storage, open_storage
from app.config import Settings
from app.doctor import bucket_config
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.errors import ServiceError

CONTENT = b"Email\n"
LINK_LIFETIME_S = 60
FETCH_TIMEOUT_S = 10.0
CLEANUP_TIMEOUT_S = 10.0

ADVICE = "start the store, or fix S3_ENDPOINT_URL, S3_BUCKET and the credentials"


@dataclass(frozen=True)
class BucketProbe:
    """The bucket, and a random key under ``S3_PREFIX`` to try the operations on."""

    inspection: BucketInspection
    key: str
    settings: Settings

    @property
    def storage(self) -> S3Storage:
        """The storage port that the service uses."""
        return self.inspection.storage


@dataclass(frozen=True)
class BucketCheck:
    """One operation of an export, and the advice when it is refused."""

    check: str
    attempt: Callable[[BucketProbe], Awaitable[CheckResult]]
    advice: str


async def check(settings: Settings) -> list[CheckResult]:
    """Return the findings about the bucket.

    Raises:
        StorageUnavailable, StorageRefused: the bucket is unavailable, missing or not accessible.
    """
    key = f"{settings.s3_prefix}doctor-{token_hex(8)}"
    async with open_inspection(settings) as inspection:
        await inspection.storage.check()
        probe = BucketProbe(inspection, key, settings)
        tried, found = await asyncio.gather(_try(probe), bucket_config.check(inspection))
    return [ok("bucket", "The bucket is there."), *tried, *found]


CHECK = Check("bucket", check, ADVICE)


async def _try(probe: BucketProbe) -> list[CheckResult]:
    """Try the steps in order, and stop at the first that is refused."""
    findings = []
    async with AsyncExitStack() as unfinished:
        unfinished.push_async_callback(_clean, probe)
        for step in STEPS:
            try:
                findings.append(await step.attempt(probe))
            except ServiceError as error:
                return [*findings, failure(step.check, str(error), step.advice)]
        # Every step was tried, so the last one has deleted the object.
        unfinished.pop_all()
    return findings


async def _objects(probe: BucketProbe) -> CheckResult:
    await probe.storage.put(probe.key, CONTENT)
    if await probe.inspection.read(probe.key) != CONTENT:
        detail = "An object that was just written reads back with other content."
        return failure(
            "bucket.objects", detail, "look for a cache or a proxy in front of the store"
        )
    proof = "verifies checksums" if probe.storage.verifies_checksums else "has no checksums: ETags"
    more = "" if probe.storage.verifies_checksums else " and sizes are compared instead"
    return ok("bucket.objects", f"An object can be written and read back. The store {proof}{more}.")


async def _link(probe: BucketProbe) -> CheckResult:
    """Open a presigned link as a seller's browser would, without credentials.

    Another client signs it: the one of the other steps may know the bucket's region by now.
    """
    name = "bucket.links"
    async with open_storage(probe.settings) as fresh:
        url = await fresh.presigned_url(probe.key, "doctor.csv", LINK_LIFETIME_S)
    try:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
            answer = await client.get(url)
    except httpx.HTTPError:
        detail = "A presigned link cannot be reached from this machine."
        if probe.settings.s3_public_endpoint_url is not None:
            return warning(
                name, detail, "open S3_PUBLIC_ENDPOINT_URL from a network that sellers use"
            )
        return failure(
            name, detail, "set S3_PUBLIC_ENDPOINT_URL to the address that sellers can reach"
        )
    if answer.status_code != httpx.codes.OK or answer.content != CONTENT:
        detail = f"A presigned link answers {answer.status_code}."
        advice = "set S3_PUBLIC_ENDPOINT_URL to the host that sellers use: the signature covers it"
        return failure(name, detail, advice)
    return ok(name, "A presigned link opens.")


async def _delete(probe: BucketProbe) -> CheckResult:
    await probe.storage.delete(probe.key)
    if await probe.storage.head(probe.key) is not None:
        detail = "An object that was just deleted is still there."
        return failure("bucket.delete", detail, "look for object lock, or a cache")
    return ok("bucket.delete", "An object can be deleted, in every version.")


async def _multipart(probe: BucketProbe) -> CheckResult:
    upload_id = await probe.storage.create_upload(probe.key)
    await probe.storage.upload_part(probe.key, upload_id, 1, CONTENT)
    await probe.storage.abort_upload(probe.key, upload_id)
    return ok("bucket.multipart", "A multipart upload can be started and aborted.")


async def _clean(probe: BucketProbe) -> None:
    """Remove what a failed step left; the lifecycle rule removes what remains."""
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(CLEANUP_TIMEOUT_S):
            async for upload in probe.storage.list_uploads(probe.key):
                await probe.storage.abort_upload(upload.key, upload.upload_id)
    # Apart from the uploads: a store that does not list them may still delete the object.
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(CLEANUP_TIMEOUT_S):
            await probe.storage.delete(probe.key)


# In this order: the links need the object of the first step, and the last one deletes it.
STEPS = (
    BucketCheck("bucket.objects", _objects, "allow PutObject and GetObject under S3_PREFIX"),
    BucketCheck("bucket.links", _link, "allow GetObject under S3_PREFIX"),
    BucketCheck(
        "bucket.multipart",
        _multipart,
        "allow PutObject, ListBucketMultipartUploads and AbortMultipartUpload",
    ),
    BucketCheck(
        "bucket.delete",
        _delete,
        "allow ListBucketVersions, DeleteObject and DeleteObjectVersion; no object lock",
    ),
)
