"""In-memory fakes of the ports, which pass the same contract tests as the real adapters."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.parse import quote
from uuid import UUID

from app.adapters.redis.pubsub import SubscriptionRegistry
from app.checksums import Crc32c
from app.config import SIGV4_LIFETIME_MAX_S
from app.errors import ObjectNotFound, StorageRefused
from app.file_headers import DEFAULT_NAME
from app.ports import (
    BeforeContent,
    Bytes,
    ExportJob,
    MultipartUpload,
    StoredObject,
    UploadedPart,
    no_check,
)

PART_BYTES_MIN = 5 * 1024 * 1024
PART_NUMBER_MAX = 10_000

Before = Callable[[str], Awaitable[None]]
"""Called with a method's name before the method runs; may raise or wait."""


async def nothing(_method: str) -> None:
    """Let every call pass."""


def fails(method: str, error: Exception, times: int = 1) -> Before:
    """Return a hook that fails the next ``times`` calls of one method."""
    left = times

    async def fail(called: str) -> None:
        nonlocal left
        if called == method and left > 0:
            left -= 1
            raise error

    return fail


@dataclass
class Upload:
    """An incomplete multipart upload."""

    key: str
    initiated_at: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryStorage:
    """A bucket in memory. ``before`` injects faults and delays."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.names: dict[str, str] = {}
        self.before: Before = nothing
        self._modified: dict[str, datetime] = {}
        self._upload_count = 0

    async def put(self, key: str, body: Bytes, file_name: str = DEFAULT_NAME) -> Crc32c:
        await self.before("put")
        self.names[key] = file_name
        self._store(key, bytes(body))
        return Crc32c.of(body)

    async def head(self, key: str) -> int | None:
        await self.before("head")
        return len(self.objects[key]) if key in self.objects else None

    async def create_upload(self, key: str, file_name: str = DEFAULT_NAME) -> str:
        await self.before("create_upload")
        self.names[key] = file_name
        self._upload_count += 1
        upload_id = f"upload-{self._upload_count}"
        self.uploads[upload_id] = Upload(key, datetime.now(UTC))
        return upload_id

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        await self.before("upload_part")
        if not 1 <= number <= PART_NUMBER_MAX:
            raise StorageRefused("The file storage refused the request.")
        self._upload(key, upload_id).parts[number] = bytes(body)
        return UploadedPart(number, _etag(body), len(body), Crc32c.of(body))

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> Crc32c:
        await self.before("complete_upload")
        if upload_id not in self.uploads and key in self.objects:
            return Crc32c.of(self.objects[key])
        upload = self._upload(key, upload_id)
        ordered = sorted(parts, key=lambda part: part.number)
        if any(_etag(upload.parts.get(part.number, b"")) != part.etag for part in ordered):
            raise StorageRefused("The file storage refused the request.")
        bodies = [upload.parts[part.number] for part in ordered]
        if not bodies or any(len(body) < PART_BYTES_MIN for body in bodies[:-1]):
            raise StorageRefused("The file storage refused the request.")
        del self.uploads[upload_id]
        self._store(key, b"".join(bodies))
        return Crc32c.of(self.objects[key])

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self.before("abort_upload")
        self.uploads.pop(upload_id, None)

    async def delete(self, key: str) -> None:
        await self.before("delete")
        self.objects.pop(key, None)

    async def list_uploads(self, prefix: str) -> AsyncIterator[MultipartUpload]:
        await self.before("list_uploads")
        for upload_id, upload in list(self.uploads.items()):
            if upload.key.startswith(prefix):
                yield MultipartUpload(upload.key, upload_id, upload.initiated_at)

    async def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        await self.before("list_objects")
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield StoredObject(key, self._modified[key])

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        await self.before("presigned_url")
        if not 1 <= lifetime_s <= SIGV4_LIFETIME_MAX_S:
            raise ValueError(f"lifetime_s must be between 1 and {SIGV4_LIFETIME_MAX_S}")
        return f"https://store.invalid/{quote(key)}?as={quote(file_name)}&X-Amz-Signature=fake"

    async def check(self) -> None:
        await self.before("check")

    def make_older(self, by: timedelta) -> None:
        """Let everything have been stored earlier, as if time had passed."""
        self._modified = {key: at - by for key, at in self._modified.items()}

    def _store(self, key: str, body: bytes) -> None:
        self.objects[key] = body
        self._modified[key] = datetime.now(UTC)

    def _upload(self, key: str, upload_id: str) -> Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise ObjectNotFound("The file is not in the file storage.")
        return upload


class MemoryMailer:
    """Keeps the messages. ``before`` injects faults and delays: before the content (``send``), and
    between it and the answer (``answer``)."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.before: Before = nothing

    async def send(self, message: EmailMessage, before_content: BeforeContent = no_check) -> None:
        await self.before("send")
        await before_content()
        self.messages.append(message)
        await self.before("answer")


class MemoryQueue:
    """Keeps each job once. ``before`` injects faults and delays."""

    def __init__(self) -> None:
        self.jobs: list[ExportJob] = []
        self.installations: set[str] = set()
        self.before: Before = nothing

    async def enqueue(self, job: ExportJob) -> None:
        await self.before("enqueue")
        if job not in self.jobs:
            self.jobs.append(job)

    async def register(self, installation: str) -> None:
        await self.before("register")
        self.installations.add(installation)

    async def check(self) -> None:
        await self.before("check")


class MemoryExportEvents:
    """Notifies subscribers in this process. ``before`` injects faults and delays."""

    def __init__(self) -> None:
        self.before: Before = nothing
        self._subscriptions = SubscriptionRegistry()

    async def publish(self, export_id: UUID) -> None:
        await self.before("publish")
        self._subscriptions.notify(export_id)

    @asynccontextmanager
    async def subscribe(self, export_id: UUID) -> AsyncIterator[AsyncIterator[None]]:
        with self._subscriptions.subscribe(export_id) as subscription:
            yield subscription


def _etag(body: Bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
