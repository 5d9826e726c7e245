"""Multipart upload: bytes in order become one object, in parts of bounded memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from mmap import mmap

import structlog

from app.checksums import Crc32c
from app.concurrency import unwrap_exception_group
from app.config import Settings
from app.errors import ServiceError, StorageRefused
from app.file_headers import DEFAULT_NAME
from app.ports import ObjectStorage, UploadedPart

log = structlog.get_logger()

ABORT_TIMEOUT_S = 1.0
"""How long an attempt waits for the abort; after that, cleanup removes the upload."""

PARTS_MAX = 10_000
"""S3's limit of one upload."""

ROW_BYTES_MAX = 200
"""More than a row of all columns takes on average."""

NameFile = Callable[[], str]


def default_name() -> str:
    """Return the name of a file whose export has none."""
    return DEFAULT_NAME


@dataclass
class Progress:
    """How far an attempt has come.

    ``rows`` counts finished ranges, without the header; ``refused_addresses`` those in them that
    common mailing tools refuse; ``moved_at`` is when bytes last moved or a
    range ended, in monotonic seconds.
    """

    rows: int = 0
    bytes: int = 0
    refused_addresses: int = 0
    snapshot_at: datetime | None = None
    moved_at: float = 0.0

    def __post_init__(self) -> None:
        self.touch()

    def touch(self) -> None:
        """Note that the attempt has moved on."""
        self.moved_at = time.monotonic()


class _Part:
    """A buffer of up to ``size`` bytes, in an anonymous mapping.

    The kernel gives its pages when they are written to and takes them back when it is freed. On
    the heap the next part's allocations would fragment that space and keep it. Getting the pages
    takes some thirty times as long as filling them, so that a part is filled again once it is
    stored.
    """

    def __init__(self, size: int) -> None:
        self._memory = memoryview(mmap(-1, size))
        self._length = 0

    @property
    def content(self) -> memoryview:
        """The bytes so far, without a copy."""
        return self._memory[: self._length]

    def clear(self) -> None:
        """Forget the bytes; nobody may read ``content`` any longer."""
        self._length = 0

    def fill(self, data: bytes) -> bytes:
        """Add what there is room for and return the rest."""
        start = self._length
        self._length = min(start + len(data), len(self._memory))
        taken = self._length - start
        self._memory[start : self._length] = data[:taken]
        return data[taken:]


class MultipartSink:
    """Takes bytes in order and stores them as one object.

    Up to one part stays in memory and becomes a single ``put``; more is a
    multipart upload with ``parts_in_flight`` parts under way at most, so that
    memory is ``part_bytes`` x (``parts_in_flight`` + 1). Open it with
    :func:`open_multipart_upload`, which leaves no upload behind.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        object_key: str,
        settings: Settings,
        progress: Progress,
        uploads: asyncio.TaskGroup,
        rows_estimated: int = 0,
        file_name: NameFile = default_name,
    ) -> None:
        self._storage = storage
        self._key = object_key
        self._part_bytes = part_size(settings.part_bytes, rows_estimated)
        self._slots = asyncio.Semaphore(settings.parts_in_flight)
        self._progress = progress
        self._file_name = file_name
        self._uploads = uploads
        self._part = _Part(self._part_bytes)
        self._stored: list[_Part] = []
        """Parts to fill again."""
        self._parts: list[asyncio.Task[UploadedPart]] = []
        self._upload_id: str | None = None
        self._checksum = Crc32c()

    @property
    def checksum(self) -> Crc32c:
        """The checksum of the file, once it is finished."""
        return self._checksum

    async def write(self, data: bytes) -> None:
        """Take bytes cut anywhere; waits while too many parts are under way."""
        self._progress.bytes += len(data)
        self._progress.touch()
        # A full part is sent only when more bytes follow: the last part is never empty, and a file
        # of exactly one part needs no multipart upload.
        while data := self._part.fill(data):
            await self._ship()

    async def finish(self) -> None:
        """Store what is left and complete the object."""
        if self._upload_id is None:
            content = self._part.content
            self._checksum = await self._storage.put(self._key, content, self._file_name())
            return
        await self._ship()
        parts = await asyncio.gather(*self._parts)
        # A success leaves no number in `uncleaned_attempts`: attempt cleanup would not find them.
        await self._abort_twins(self._upload_id)
        self._checksum = await self._storage.complete_upload(self._key, self._upload_id, parts)
        # Only now: until then `abort` has to abort an upload that was not completed.
        self._upload_id = None

    async def abort(self) -> None:
        """Abort the upload, if one is open; cleanup removes it where that fails."""
        if self._upload_id is None:
            return
        try:
            async with asyncio.timeout(ABORT_TIMEOUT_S):
                await self._storage.abort_upload(self._key, self._upload_id)
        except (ServiceError, TimeoutError) as error:
            log.warning("upload not aborted", object_key=self._key, error=type(error).__name__)

    async def _abort_twins(self, upload_id: str) -> None:
        """Abort other uploads under our key, created by a request whose answer was lost."""
        async for upload in self._storage.list_uploads(self._key):
            if upload.upload_id != upload_id:
                await self._storage.abort_upload(upload.key, upload.upload_id)

    async def _ship(self) -> None:
        if len(self._parts) == PARTS_MAX:
            raise StorageRefused(f"The file needs more than {PARTS_MAX} parts: raise PART_BYTES.")
        # Here and not in the task: parts would wait for a slot in memory, without a limit.
        await self._slots.acquire()
        if self._upload_id is None:
            self._upload_id = await self._storage.create_upload(self._key, self._file_name())
        upload = self._upload(self._upload_id, len(self._parts) + 1, self._part)
        self._parts.append(self._uploads.create_task(upload))
        self._part = self._stored.pop() if self._stored else _Part(self._part_bytes)

    async def _upload(self, upload_id: str, number: int, part: _Part) -> UploadedPart:
        try:
            uploaded = await self._storage.upload_part(self._key, upload_id, number, part.content)
        finally:
            self._progress.touch()
            self._slots.release()
        # A try that was broken off may still send its last piece: changed, that fails its checksum,
        # and where the store computes none, the part's ETag.
        part.clear()
        self._stored.append(part)
        return uploaded


def part_size(part_bytes: int, rows_estimated: int) -> int:
    """Return the size of every part but the last: some stores refuse parts of several sizes.

    ``part_bytes`` suffices for 250 million rows at its default.
    """
    return max(part_bytes, -(-rows_estimated * ROW_BYTES_MAX // PARTS_MAX))


@asynccontextmanager
async def open_multipart_upload(
    storage: ObjectStorage,
    object_key: str,
    settings: Settings,
    progress: Progress,
    rows_estimated: int = 0,
    file_name: NameFile = default_name,
) -> AsyncIterator[MultipartSink]:
    """Open a sink; on any error or cancel its uploads end and the upload is aborted.

    A part that fails cancels the body of the ``async with`` at once. ``file_name`` is called
    when the object is begun, with the snapshot's instant known.
    """
    uploads = asyncio.TaskGroup()
    sink = MultipartSink(
        storage, object_key, settings, progress, uploads, rows_estimated, file_name
    )
    try:
        async with unwrap_exception_group(), uploads:
            yield sink
    finally:
        # After the group: a part that is still being sent may be stored in spite of the abort.
        # Shielded: a second cancellation would leave the upload to cleanup.
        await asyncio.shield(sink.abort())
