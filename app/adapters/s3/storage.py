"""Object storage over S3: AWS, Ceph and other stores with Signature Version 4."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import structlog

from app.adapters.s3.body import as_file
from app.adapters.s3.client import TRIES, open_clients
from app.adapters.s3.errors import NotImplementedByStore, storage_errors
from app.adapters.s3.integrity import (
    DAMAGED,
    WHOLE_OBJECT,
    ChecksumHeader,
    ChecksumOfUpload,
    verify_body,
    verify_object,
)
from app.adapters.s3.region import BucketRegion
from app.checksums import Crc32c
from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.errors import FileDamaged, FileRemains, ObjectNotFound, ServiceError
from app.file_headers import DEFAULT_NAME, content_disposition, content_type
from app.ports import Bytes, MultipartUpload, StoredObject, UploadedPart

log = structlog.get_logger()

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.literals import ServerSideEncryptionType
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef


CHECK_TIMEOUT_S = 5.0
REGION_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 120.0
"""Limit of a call with its retries; without it, aiohttp waits for ever on a send that stalls."""

DELETE_ROUNDS = 3
"""How often an object that is still visible after its deletion is deleted again."""

SLOWEST_BYTES_S = 64 * 1024
"""The slowest accepted upload in bytes per second: a body adds its time to ``CALL_TIMEOUT_S``."""


class ObjectVersion(TypedDict, total=False):
    """The version argument of S3's calls; empty in a bucket without versions."""

    VersionId: str


class Encryption(TypedDict, total=False):
    """The encryption arguments of S3's calls; empty for the bucket's default."""

    ServerSideEncryption: "ServerSideEncryptionType"
    SSEKMSKeyId: str


@dataclass(frozen=True)
class SentBody:
    """A body that the store has: its answer, and whether it computed the checksum too."""

    answer: Any
    checksum: Crc32c
    has_stored_checksum: bool


class S3Storage:
    """The :class:`~app.ports.ObjectStorage` port on an S3 bucket.

    ``presigner`` signs the URLs that sellers open; it is another client than
    ``client`` where they reach the store at another address. Keys are
    complete: no prefix is added. ``sse`` is the encryption at rest: ``AES256``,
    ``aws:kms`` or ``aws:kms:`` and a key id; ``None`` means the bucket's
    default. ``prefix`` is what the credentials may be limited to. Objects get
    no ACL, so they are private.

    Attributes:
        verifies_checksums: whether the store returned a checksum of the last body.
    """

    def __init__(
        self,
        bucket: str,
        client: "S3Client",
        presigner: "S3Client",
        sse: str | None = None,
        prefix: str = "",
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._presigner = presigner
        self._encryption = encryption(sse)
        self._prefix = prefix
        self._takes_checksums = True
        self.verifies_checksums = False
        self._region = BucketRegion()
        self._region.watch(client.meta.events)
        self._region.guide(presigner.meta.events)

    async def put(self, key: str, body: Bytes, file_name: str = DEFAULT_NAME) -> Crc32c:
        """Store a small object in one request; return its checksum.

        ``file_name`` is what a browser saves it as where the store ignores the name in a URL.
        """

        async def send(checksum: ChecksumHeader) -> Any:
            return await self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=as_file(body),
                ContentType=content_type(file_name),
                ContentDisposition=content_disposition(file_name),
                **checksum,
                **self._encryption,
            )

        sent = await self._send(body, send)
        return sent.checksum

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                answer = await self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectNotFound:
            return None
        return answer["ContentLength"]

    async def create_upload(self, key: str, file_name: str = DEFAULT_NAME) -> str:
        """Start a multipart upload and return its id; ``file_name`` is as for :meth:`put`."""

        async def create(checksum: ChecksumOfUpload) -> str:
            async with storage_errors(CALL_TIMEOUT_S):
                answer = await self._client.create_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    ContentType=content_type(file_name),
                    ContentDisposition=content_disposition(file_name),
                    **checksum,
                    **self._encryption,
                )
            return answer["UploadId"]

        if self._takes_checksums:
            try:
                return await create(WHOLE_OBJECT)
            except NotImplementedByStore:
                self._takes_checksums = False
        return await create({})

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Upload one part; all but the last have at least 5 MiB (a limit of S3)."""

        async def send(checksum: ChecksumHeader) -> Any:
            return await self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=as_file(body),
                **checksum,
            )

        sent = await self._send(body, send)
        return UploadedPart(
            number, sent.answer["ETag"], len(body), sent.checksum, sent.has_stored_checksum
        )

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> Crc32c:
        """Assemble the object from ``parts``, in the order of their numbers.

        Returns the checksum of the whole object, combined from the parts'.

        Can be repeated after a lost response: an upload that no longer exists
        was completed if its object exists, since no two uploads share a key.
        S3 may report an error in a response with status 200; botocore raises it.
        """
        ordered = sorted(parts, key=lambda part: part.number)
        checksum = _of_whole(ordered)
        answer: Mapping[str, Any] = {}
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                answer = await self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": [_completed(part) for part in ordered]},
                )
        except ObjectNotFound:
            if await self.head(key) is None:
                raise
        if not verify_object(checksum, answer):
            await self._verify_size(key, sum(part.bytes for part in parts))
        return checksum

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload and delete its parts; does nothing if it does not exist."""
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                await self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
        except ObjectNotFound:
            return

    async def delete(self, key: str) -> None:
        """Delete an object in every version and check that it is gone; it need not exist.

        In a versioned bucket, a plain delete only hides the file behind a delete marker, so each
        version is deleted by its id. Some stores list no versions although they have some: a
        version that is still visible afterwards is deleted by the id that HEAD returns.

        Raises:
            FileRemains: the store confirmed the deletion and still has the object.
        """
        versions = await self._versions(key)
        for version in versions:
            await self._delete(key, version)
        visible = await self._visible_version(key)
        for _ in range(DELETE_ROUNDS):
            if visible is None:
                break
            await self._delete(key, visible)
            visible = await self._visible_version(key)
        if visible is not None or (versions and await self._versions(key)):
            raise FileRemains("The file storage still has the file after deleting it.")

    async def list_uploads(self, prefix: str) -> AsyncIterator[MultipartUpload]:
        """Yield every unfinished multipart upload whose key begins with ``prefix``."""
        async for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for upload in page.get("Uploads", []):
                yield MultipartUpload(upload["Key"], upload["UploadId"], upload["Initiated"])

    async def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""
        async for page in self._pages("list_objects_v2", Prefix=prefix):
            for item in page.get("Contents", []):
                yield StoredObject(item["Key"], item["LastModified"])

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return a URL that downloads the object as ``file_name``, without authentication.

        It is signed locally, so the object need not exist; a process without any
        response from the store sends it one request, to learn the bucket's region.
        It is valid for ``lifetime_s`` seconds, but no longer than the credentials
        that sign it.

        Raises:
            ValueError: ``lifetime_s`` is not between 1 and 604,800 (Signature Version 4).
        """
        if not 1 <= lifetime_s <= SIGV4_LIFETIME_MAX_S:
            raise ValueError(f"lifetime_s must be between 1 and {SIGV4_LIFETIME_MAX_S}")
        headers = {
            "ResponseContentDisposition": content_disposition(file_name),
            "ResponseContentType": content_type(file_name),
        }
        if self._region.must_ask():
            with contextlib.suppress(ServiceError, TimeoutError):
                async with asyncio.timeout(REGION_TIMEOUT_S):
                    await self.check()
        async with storage_errors(CALL_TIMEOUT_S):
            return await self._presigner.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": key, **headers},
                ExpiresIn=lifetime_s,
            )

    async def check(self) -> None:
        """Check that the bucket can be reached.

        It lists under the prefix: a policy limited to that refuses HeadBucket.
        """
        async with storage_errors(CHECK_TIMEOUT_S):
            await self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    async def _send(
        self, body: Bytes, send: Callable[[ChecksumHeader], Awaitable[Any]]
    ) -> SentBody:
        """Send a body until the store has it undamaged, ``TRIES`` times at most.

        Raises:
            FileDamaged: it was damaged each time.
        """
        checksum = Crc32c.of(body)
        for _ in range(TRIES - 1):
            # As it is now: another part in flight may change it while this one is sent.
            has_checksum = self._takes_checksums
            try:
                return await self._send_once(body, checksum, send)
            except NotImplementedByStore:
                if not has_checksum:
                    raise
                self._takes_checksums = False
            except FileDamaged:
                log.warning("body damaged on its way to the store")
        return await self._send_once(body, checksum, send)

    async def _send_once(
        self, body: Bytes, checksum: Crc32c, send: Callable[[ChecksumHeader], Awaitable[Any]]
    ) -> SentBody:
        header: ChecksumHeader = {"ChecksumCRC32C": str(checksum)}
        async with storage_errors(_time_for(body)):
            answer = await send(header if self._takes_checksums else {})
        self.verifies_checksums = await verify_body(body, checksum, answer)
        return SentBody(answer, checksum, self.verifies_checksums)

    async def _verify_size(self, key: str, size: int) -> None:
        """Compare the size of an object whose store computes no checksum of it.

        Raises:
            FileDamaged: the store has more or fewer bytes.
        """
        if await self.head(key) != size:
            raise FileDamaged(DAMAGED)

    async def _delete(self, key: str, version: ObjectVersion) -> None:
        with contextlib.suppress(ObjectNotFound):  # deleted concurrently
            async with storage_errors(CALL_TIMEOUT_S):
                await self._client.delete_object(Bucket=self._bucket, Key=key, **version)

    async def _visible_version(self, key: str) -> ObjectVersion | None:
        """Return the version that a GET would return, ``None`` where the object does not exist."""
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                answer = await self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectNotFound:
            return None
        version_id = answer.get("VersionId")
        return {"VersionId": version_id} if version_id else {}

    async def _versions(self, key: str) -> list[ObjectVersion]:
        """Return all versions of the object, delete markers last.

        Empty also for a store without versioning, such as Cloudflare R2.
        """
        versions, markers = [], []
        try:
            async for page in self._pages("list_object_versions", Prefix=key):
                versions += page.get("Versions", [])
                markers += page.get("DeleteMarkers", [])
        except NotImplementedByStore:
            return []
        # The prefix also lists keys that begin with this one: they must not be deleted.
        # Markers last: without its marker a version would be visible until it is deleted.
        matching = [version for version in (*versions, *markers) if version["Key"] == key]
        return [{"VersionId": version["VersionId"]} for version in matching]

    async def _pages(self, operation: Any, **arguments: str) -> AsyncIterator[Any]:
        """Yield the pages of an operation; each request has its own time limit."""
        paginator: Any = self._client.get_paginator(operation)
        pages = aiter(paginator.paginate(Bucket=self._bucket, **arguments))
        while True:
            async with storage_errors(CALL_TIMEOUT_S):
                # Not around the yield, where the caller's time and errors would count.
                page = await anext(pages, None)
            if page is None:
                return
            yield page


def encryption(sse: str | None) -> Encryption:
    """Return the encryption arguments for the value of ``S3_SSE``.

    A KMS key id may contain colons: on AWS it can be an ARN.
    """
    if sse is None:
        return {}
    if sse == "AES256":
        return {"ServerSideEncryption": "AES256"}
    key_id = sse.removeprefix("aws:kms").removeprefix(":")
    key: Encryption = {"SSEKMSKeyId": key_id} if key_id else {}
    return {"ServerSideEncryption": "aws:kms", **key}


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[S3Storage]:
    """Yield the bucket; the store need not be up.

    Raises:
        StorageUnavailable, StorageRefused: boto's credential chain fails.
    """
    async with open_clients(settings) as (client, presigner):
        yield S3Storage(settings.s3_bucket, client, presigner, settings.s3_sse, settings.s3_prefix)


def _completed(part: UploadedPart) -> "CompletedPartTypeDef":
    """Return a part as the completion names it; with its checksum where the store knows one."""
    completed: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.has_stored_checksum:
        completed["ChecksumCRC32C"] = str(part.checksum)
    return completed


def _of_whole(parts: Sequence[UploadedPart]) -> Crc32c:
    """Return the checksum of the object that the parts, in this order, make."""
    checksum = Crc32c()
    for part in parts:
        checksum = checksum.followed_by(part.checksum, part.bytes)
    return checksum


def _time_for(body: Bytes) -> float:
    return CALL_TIMEOUT_S + len(body) / SLOWEST_BYTES_S
