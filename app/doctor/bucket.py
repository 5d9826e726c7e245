"""The bucket: everything the service asks of it, tried on an object that is gone afterwards."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from secrets import token_hex

import httpx

from app.adapters.s3 import S3Storage
from app.adapters.s3_inspection import BucketInspection, open_inspection
from app.config import Settings
from app.doctor import bucket_setup
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.errors import ServiceError

CONTENT = b"Email\n"
LINK_S = 60
FETCH_TIMEOUT_S = 10.0
CLEANING_TIMEOUT_S = 10.0

ADVICE = "start the store, or mend S3_ENDPOINT_URL, S3_BUCKET and the credentials"


@dataclass(frozen=True)
class Probe:
    """A bucket and a key under the service's prefix that nobody else uses."""

    inspection: BucketInspection
    key: str
    is_public: bool
    """Whether links are made for an address of their own."""

    @property
    def storage(self) -> S3Storage:
        """The bucket as the service uses it."""
        return self.inspection.storage


@dataclass(frozen=True)
class Step:
    """Something that an export does, and what to do when it is refused."""

    check: str
    attempt: Callable[[Probe], Awaitable[Finding]]
    advice: str


async def examine(settings: Settings) -> list[Finding]:
    """Return what is to be said of the bucket.

    Raises:
        StorageUnavailable, StorageRefused: it is away, missing or closed to us.
    """
    key = f"{settings.s3_prefix}doctor-{token_hex(8)}"
    async with open_inspection(settings) as inspection:
        await inspection.storage.check()
        probe = Probe(inspection, key, settings.s3_public_endpoint_url is not None)
        tried, found = await asyncio.gather(_try(probe), bucket_setup.examine(inspection))
    return [ok("bucket", "The bucket is there."), *tried, *found]


CHECK = Check("bucket", examine, ADVICE)


async def _try(probe: Probe) -> list[Finding]:
    """Do what exports do, in their order; the first refusal is the last try."""
    findings = []
    async with AsyncExitStack() as unfinished:
        unfinished.push_async_callback(_clean, probe)
        for step in STEPS:
            try:
                findings.append(await step.attempt(probe))
            except ServiceError as error:
                return [*findings, failure(step.check, str(error), step.advice)]
        unfinished.pop_all()
    return findings


async def _objects(probe: Probe) -> Finding:
    await probe.storage.put(probe.key, CONTENT)
    if await probe.inspection.read(probe.key) != CONTENT:
        detail = "An object that was just written reads as something else."
        return failure("bucket.objects", detail, "look for a cache or a proxy before the store")
    return ok("bucket.objects", "An object can be written and read back.")


async def _link(probe: Probe) -> Finding:
    """Open a presigned link as a seller's browser would, no credentials about it."""
    check = "bucket.links"
    url = await probe.storage.presigned_url(probe.key, "doctor.csv", LINK_S)
    try:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
            answer = await client.get(url)
    except httpx.HTTPError:
        detail = "A presigned link cannot be reached from this machine."
        if probe.is_public:
            return warning(check, detail, "try S3_PUBLIC_ENDPOINT_URL from where sellers are")
        return failure(check, detail, "set S3_PUBLIC_ENDPOINT_URL to where sellers reach it")
    if answer.status_code != httpx.codes.OK or answer.content != CONTENT:
        detail = f"A presigned link answers {answer.status_code}."
        advice = "the signature covers the host: name it as sellers do in S3_PUBLIC_ENDPOINT_URL"
        return failure(check, detail, advice)
    return ok(check, "A presigned link opens.")


async def _delete(probe: Probe) -> Finding:
    await probe.storage.delete(probe.key)
    if await probe.storage.head(probe.key) is not None:
        detail = "An object that was just erased is still there."
        return failure("bucket.delete", detail, "look for object lock, or a cache")
    return ok("bucket.delete", "An object can be erased, in every version.")


async def _multipart(probe: Probe) -> Finding:
    upload_id = await probe.storage.create_upload(probe.key)
    await probe.storage.upload_part(probe.key, upload_id, 1, CONTENT)
    await probe.storage.abort_upload(probe.key, upload_id)
    return ok("bucket.multipart", "A multipart upload can be begun and aborted.")


async def _clean(probe: Probe) -> None:
    """Remove what an unfinished try may have left; what stays is the lifecycle rule's."""
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(CLEANING_TIMEOUT_S):
            async for upload in probe.storage.list_uploads(probe.key):
                await probe.storage.abort_upload(upload.key, upload.upload_id)
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(CLEANING_TIMEOUT_S):
            await probe.storage.delete(probe.key)


STEPS = (
    Step("bucket.objects", _objects, "allow PutObject and GetObject under S3_PREFIX"),
    Step("bucket.links", _link, "allow GetObject under S3_PREFIX"),
    Step(
        "bucket.multipart",
        _multipart,
        "allow PutObject, ListBucketMultipartUploads and AbortMultipartUpload",
    ),
    Step(
        "bucket.delete",
        _delete,
        "allow ListBucketVersions, DeleteObject and DeleteObjectVersion; no object lock",
    ),
)
