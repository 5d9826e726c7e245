"""What the use cases need of the outside world, and no more."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

Lane: TypeAlias = Literal["small", "large"]
"""Which places an export waits for."""

Bytes: TypeAlias = bytes | bytearray | memoryview
"""What a file is made of; it is not changed while it is being sent."""


@dataclass(frozen=True)
class UploadedPart:
    """A part of a multipart upload, as the store acknowledged it.

    ``number`` is 1 to 10,000 (a limit of S3); parts may arrive in any order.
    """

    number: int
    etag: str


@dataclass(frozen=True)
class OpenUpload:
    """A multipart upload that is neither complete nor aborted."""

    key: str
    upload_id: str
    initiated_at: datetime


@dataclass(frozen=True)
class StoredObject:
    """An object in the bucket."""

    key: str
    modified_at: datetime


class ObjectStorage(Protocol):
    """A private bucket of CSV files.

    Every method raises ``StorageUnavailable`` where trying again may help and
    ``StorageRefused`` where it will not.
    """

    async def put(self, key: str, body: Bytes) -> None:
        """Store a small object in one request."""

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""

    async def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Store one part: 5 MiB or more unless it is the last."""

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> None:
        """Make the object of its parts, in the order of their numbers."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone already is fine."""

    async def delete(self, key: str) -> None:
        """Erase an object in every version; one that is gone already is fine."""

    def list_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """Yield every open upload whose key begins with ``prefix``."""

    def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return an address that downloads the object as ``file_name``.

        It opens without further authentication for ``lifetime_s`` seconds, at
        most 604,800 (Signature Version 4).
        """

    async def check(self) -> None:
        """Return when the bucket can be reached."""


class Mailer(Protocol):
    """A way to hand a message to a mail server."""

    async def send(self, message: EmailMessage) -> None:
        """Return when the server has taken responsibility for ``message``.

        Raises:
            MailDeferred: the server is away or said "later".
            MailRefused: the server will never take this message.
        """


class WebhookCaller(Protocol):
    """A way to tell a service something."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send ``body`` once and return the status of the answer.

        Raises:
            WebhookFailed: there is no answer, or the address may not be called.
        """


class ExportQueue(Protocol):
    """The bell: tells workers to look at an export. May lose or repeat rings."""

    async def ring(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        """Ask some worker to look at this export's lane; the same attempt rings once.

        Raises:
            QueueUnavailable: Redis is away; the sweep will ring later.
        """

    async def ring_again(
        self, seller_id: int, export_id: UUID, attempt: int, lane: Lane = "small"
    ) -> None:
        """Ring although a worker may have heard this bell already, and died.

        Raises:
            QueueUnavailable: Redis is away.
        """

    async def check(self) -> None:
        """Return when the queue can be reached."""


class ExportNews(Protocol):
    """Tells every process that an export has changed. May lose news."""

    async def publish(self, export_id: UUID) -> None:
        """Tell all listeners that the export's row has changed."""

    def listen(self, export_id: UUID) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Yield once for each change told of while the context is open."""
