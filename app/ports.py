"""Ports: the interfaces through which use cases reach the object store, mail, webhooks and Redis.

Each lists only what is used. ``app.adapters`` has the implementations.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from app.checksums import Crc32c
from app.file_headers import DEFAULT_NAME

Lane: TypeAlias = Literal["small", "large"]
"""One of the two queues, by the estimated size of the list; each has its own execution slots."""

Bytes: TypeAlias = bytes | bytearray | memoryview
"""The content of a file or part; it must not change while it is sent."""


@dataclass(frozen=True)
class UploadedPart:
    """An uploaded part of a multipart upload.

    ``number`` is 1 to 10,000 (a limit of S3); parts may be uploaded in any
    order. ``etag`` is the store's, and completes the upload. ``bytes`` is the part's
    size; ``has_stored_checksum`` is whether the store computed the checksum too.
    """

    number: int
    etag: str
    bytes: int
    checksum: Crc32c
    has_stored_checksum: bool = False


@dataclass(frozen=True)
class MultipartUpload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    initiated_at: datetime


@dataclass(frozen=True)
class StoredObject:
    """An object in the bucket."""

    key: str
    modified_at: datetime


class ObjectStorage(Protocol):
    """A private bucket for export files.

    Every method raises ``StorageUnavailable`` for temporary errors and
    ``StorageRefused`` for permanent ones.
    """

    async def put(self, key: str, body: Bytes, file_name: str = DEFAULT_NAME) -> Crc32c:
        """Store a small object in one request; return its checksum.

        ``file_name`` is what a browser saves it as where the store ignores the name in a URL.
        """

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""

    async def create_upload(self, key: str, file_name: str = DEFAULT_NAME) -> str:
        """Start a multipart upload and return its id; ``file_name`` is as for :meth:`put`."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Upload one part; all but the last have at least 5 MiB (a limit of S3).

        A cancelled call leaves no background task.
        """

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> Crc32c:
        """Assemble the object from ``parts``, in the order of their numbers; can be repeated.

        Returns the checksum of the whole object, combined from the parts'.

        Raises:
            FileDamaged: the object in the store has not this checksum, or not the parts' size.
        """

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload and delete its parts; does nothing if it does not exist."""

    async def delete(self, key: str) -> None:
        """Delete an object in every version and check that it is gone; it need not exist.

        Raises:
            FileRemains: the store still has it.
        """

    def list_uploads(self, prefix: str) -> AsyncIterator[MultipartUpload]:
        """Yield every unfinished multipart upload whose key begins with ``prefix``."""

    def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return a URL that downloads the object as ``file_name``, without authentication.

        It is valid for ``lifetime_s`` seconds, at most 604,800 (Signature Version 4).
        """

    async def check(self) -> None:
        """Check that the bucket can be reached."""


BeforeContent: TypeAlias = Callable[[], Awaitable[None]]
"""Awaited after the reply to DATA, before the content: the last moment to cancel a mail."""


async def no_check() -> None:
    """Do nothing: a :data:`BeforeContent` that always lets the mail be sent."""


class Mailer(Protocol):
    """Submits messages to a mail server."""

    async def send(self, message: EmailMessage, before_content: BeforeContent = no_check) -> None:
        """Return once the server has accepted responsibility for ``message``.

        An exception of ``before_content`` propagates; no content has been sent then.

        Raises:
            MailUnanswered: the content was sent and no reply arrived.
            MailDeferred: the server is unavailable, replied 4xx, or refuses us, not the recipient.
            MailRefused: the server refuses this recipient permanently.
        """


class WebhookSender(Protocol):
    """Calls webhook endpoints."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send ``body`` once and return the response's status.

        Raises:
            WebhookFailed: there was no response, or the address is not permitted.
        """


@dataclass(frozen=True)
class ExportJob:
    """A job of the queue: wake a worker of ``lane`` up for one attempt at an export.

    ``attempt`` counts the attempts before it, 0 for the first.
    """

    seller_id: int
    export_id: UUID
    attempt: int
    lane: Lane = "small"


class ExportQueue(Protocol):
    """Wakes workers up for exports. Jobs may get lost or repeated: PostgreSQL is the truth."""

    async def enqueue(self, job: ExportJob) -> None:
        """Wake a worker up.

        Raises:
            QueueUnavailable: Redis is unavailable or refuses the command; workers then find
                the export by polling PostgreSQL.
        """

    async def register(self, installation: str) -> None:
        """Note that an installation's workers use this queue.

        Raises:
            QueueUnavailable: Redis is unavailable or refuses the command.
        """

    async def check(self) -> None:
        """Check that jobs can be enqueued.

        Raises:
            QueueUnavailable: Redis is unavailable, full, read-only, or refuses the commands.
        """


class ExportEvents(Protocol):
    """Publishes changes of exports to every process. Notifications may get lost."""

    async def publish(self, export_id: UUID) -> None:
        """Notify all subscribers that the export's row has changed.

        Raises:
            QueueUnavailable: Redis is unavailable; subscribers have to poll the database.
        """

    def subscribe(self, export_id: UUID) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Yield an iterator that yields at least once after each published change."""
