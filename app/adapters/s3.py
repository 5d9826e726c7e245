"""Object storage that speaks S3: AWS, Ceph and what else knows Signature Version 4."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from app.adapters.s3_body import file_of
from app.adapters.s3_client import open_clients
from app.adapters.s3_errors import NotImplementedByStore, storage_errors
from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.errors import ObjectMissing
from app.ports import Bytes, OpenUpload, StoredObject, UploadedPart

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.literals import ServerSideEncryptionType
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

CONTENT_TYPE = "text/csv; charset=utf-8"

CHECK_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 120.0
"""For one call with its repetitions: aiohttp never gives up on a send that stalls."""

SLOWEST_BYTES_S = 64 * 1024
"""What a body's size adds to ``CALL_TIMEOUT_S``."""


class VersionOfKey(TypedDict, total=False):
    """What names a version beside its key; nothing where there are no versions."""

    VersionId: str


class Encryption(TypedDict, total=False):
    """What asks the store to encrypt an object."""

    ServerSideEncryption: "ServerSideEncryptionType"
    SSEKMSKeyId: str


class S3Storage:
    """A bucket, by a client that is open for as long as the process.

    ``presigner`` is the client for the address at which sellers reach the
    store, where that is another one. Keys are whole: no prefix is added.
    ``sse`` is how objects are encrypted at rest, ``AES256``, ``aws:kms`` or
    ``aws:kms:`` and a key's id; ``None`` leaves it to the bucket's own default.
    No object is ever given an ACL: it is its owner's alone.
    """

    def __init__(
        self, bucket: str, client: "S3Client", presigner: "S3Client", sse: str | None = None
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._presigner = presigner
        self._encryption = encryption(sse)

    async def put(self, key: str, body: Bytes) -> None:
        """Store a small object in one request."""
        async with storage_errors(_time_for(body)):
            await self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=file_of(body),
                ContentType=CONTENT_TYPE,
                **self._encryption,
            )

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                answer = await self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return None
        return answer["ContentLength"]

    async def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        async with storage_errors(CALL_TIMEOUT_S):
            answer = await self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=CONTENT_TYPE, **self._encryption
            )
        return answer["UploadId"]

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Store one part: 5 MiB or more unless it is the last.

        Cancelled, it leaves no task behind.
        """
        async with storage_errors(_time_for(body)):
            answer = await self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=file_of(body),
            )
        return UploadedPart(number, answer["ETag"])

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> None:
        """Make the object of its parts, in the order of their numbers.

        May be repeated when an answer was lost: an upload that is gone is
        complete if its object is there, since no two uploads share a key.
        botocore takes S3's "200" with an error inside for the error it is.
        """
        listed: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": part.etag}
            for part in sorted(parts, key=lambda part: part.number)
        ]
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                await self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},
                )
        except ObjectMissing:
            if await self.head(key) is None:
                raise

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone already is fine."""
        try:
            async with storage_errors(CALL_TIMEOUT_S):
                await self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
        except ObjectMissing:
            return

    async def delete(self, key: str) -> None:
        """Erase an object in every version; one that is gone already is fine.

        In a bucket with versions a plain delete would only hide the file
        behind a marker. A bucket without has one version, named ``null``.
        """
        for version in await self._versions(key):
            try:
                async with storage_errors(CALL_TIMEOUT_S):
                    await self._client.delete_object(Bucket=self._bucket, Key=key, **version)
            except ObjectMissing:
                continue  # somebody else erases it too

    async def list_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """Yield every open upload whose key begins with ``prefix``."""
        async for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for upload in page.get("Uploads", []):
                yield OpenUpload(upload["Key"], upload["UploadId"], upload["Initiated"])

    async def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""
        async for page in self._pages("list_objects_v2", Prefix=prefix):
            for item in page.get("Contents", []):
                yield StoredObject(item["Key"], item["LastModified"])

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return an address that downloads the object as ``file_name``.

        It is signed here, without asking the store, so the object need not
        exist. It lives for ``lifetime_s`` seconds, at most 604,800, and no
        longer than the credentials that sign it.

        Raises:
            ValueError: no such lifetime can be signed.
        """
        if not 1 <= lifetime_s <= SIGV4_LIFETIME_MAX_S:
            raise ValueError(f"a presigned URL lives 1 to {SIGV4_LIFETIME_MAX_S} seconds")
        answer = {
            "ResponseContentDisposition": content_disposition(file_name),
            "ResponseContentType": CONTENT_TYPE,
        }
        async with storage_errors(CALL_TIMEOUT_S):
            return await self._presigner.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": key, **answer},
                ExpiresIn=lifetime_s,
            )

    async def check(self) -> None:
        """Return when the bucket can be reached."""
        async with storage_errors(CHECK_TIMEOUT_S):
            await self._client.head_bucket(Bucket=self._bucket)

    async def _versions(self, key: str) -> list[VersionOfKey]:
        """Return what names each version of the object, markers last.

        A store that knows no versions (Cloudflare's, say) has the object only.
        """
        versions, markers = [], []
        try:
            async for page in self._pages("list_object_versions", Prefix=key):
                versions += page.get("Versions", [])
                markers += page.get("DeleteMarkers", [])
        except NotImplementedByStore:
            return [{}]
        found = [version for version in (*versions, *markers) if version["Key"] == key]
        return [{"VersionId": version["VersionId"]} for version in found]

    async def _pages(self, operation: Any, **arguments: str) -> AsyncIterator[Any]:
        """Yield an operation's answers; each page is a call with a time limit of its own."""
        paginator: Any = self._client.get_paginator(operation)
        pages = aiter(paginator.paginate(Bucket=self._bucket, **arguments))
        while True:
            async with storage_errors(CALL_TIMEOUT_S):
                page = await anext(pages, None)
            if page is None:
                return
            yield page


def encryption(sse: str | None) -> Encryption:
    """Return the arguments of ``put_object`` and ``create_multipart_upload`` for ``S3_SSE``.

    A key's id may hold colons itself: on AWS it can be an ARN.
    """
    if sse is None:
        return {}
    if sse == "AES256":
        return {"ServerSideEncryption": "AES256"}
    key_id = sse.removeprefix("aws:kms").removeprefix(":")
    named: Encryption = {"SSEKMSKeyId": key_id} if key_id else {}
    return {"ServerSideEncryption": "aws:kms", **named}


def content_disposition(file_name: str) -> str:
    """Return the header field that makes a browser save a file (RFC 6266).

    Older clients read the plain name, where what is not ASCII becomes ``_``.
    """
    printable = "".join(character for character in file_name if character.isprintable())
    plain = printable.encode("ascii", "replace").decode().replace("?", "_")
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    field = f'attachment; filename="{quoted}"'
    if plain == printable:
        return field
    return f"{field}; filename*=UTF-8''{quote(printable, safe='')}"


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[S3Storage]:
    """Yield the bucket; the store need not be up.

    Raises:
        StorageUnavailable, StorageRefused: boto's chain has no credentials now.
    """
    async with open_clients(settings) as (client, presigner):
        yield S3Storage(settings.s3_bucket, client, presigner, settings.s3_sse)


def _time_for(body: Bytes) -> float:
    return CALL_TIMEOUT_S + len(body) / SLOWEST_BYTES_S
