"""From bytes to an object: they flow through bounded parts and are never gathered."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from mmap import mmap

import structlog

from app.config import Settings
from app.errors import ServiceError
from app.ports import ObjectStorage, UploadedPart

log = structlog.get_logger()

ABORT_TIMEOUT_S = 1.0
"""A store that hangs must not keep an attempt from ending; the sweep is the second net."""

GROWTH_PARTS = 1000
"""After so many parts their size doubles, so that S3's 10,000 always suffice:
with 5 MiB to begin with they hold 5.3 TB, more than S3's largest object."""


@dataclass
class Progress:
    """How far an attempt has come; ``moved_at`` is monotonic seconds."""

    rows: int = 0
    bytes: int = 0
    snapshot_at: datetime | None = None
    moved_at: float = 0.0

    def __post_init__(self) -> None:
        self.moved()

    def moved(self) -> None:
        """Note that bytes have moved."""
        self.moved_at = time.monotonic()


class _Part:
    """Bytes that gather up to ``size``, in memory of their own.

    The system gives that when it is written to and has it back at once; on the
    heap, pieces of the next parts would lie between and keep it.
    """

    def __init__(self, size: int) -> None:
        self._memory = memoryview(mmap(-1, size))
        self._length = 0

    @property
    def content(self) -> memoryview:
        """What has gathered so far."""
        return self._memory[: self._length]

    def fill(self, data: bytes) -> bytes:
        """Take what there is room for and return the rest."""
        start = self._length
        self._length = min(start + len(data), len(self._memory))
        taken = self._length - start
        self._memory[start : self._length] = data[:taken]
        return data[taken:]


class PartSink:
    """Takes bytes in order and stores them as one object.

    Up to one part stays in memory and becomes a single ``put``; more is a
    multipart upload with ``parts_in_flight`` parts under way at most, so that
    memory is ``part_bytes`` x (``parts_in_flight`` + 1). Open it with
    :func:`open_sink`, which leaves no upload behind.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        object_key: str,
        settings: Settings,
        progress: Progress,
        uploads: asyncio.TaskGroup,
    ) -> None:
        self._storage = storage
        self._key = object_key
        self._part_bytes = settings.part_bytes
        self._slots = asyncio.Semaphore(settings.parts_in_flight)
        self._progress = progress
        self._uploads = uploads
        self._part = _Part(settings.part_bytes)
        self._parts: list[asyncio.Task[UploadedPart]] = []
        self._upload_id: str | None = None

    async def write(self, data: bytes) -> None:
        """Take bytes cut anywhere; waits while too many parts are under way."""
        self._progress.bytes += len(data)
        self._progress.moved()
        while data := self._part.fill(data):
            await self._ship()

    async def finish(self) -> None:
        """Store what is left and make the object whole."""
        if self._upload_id is None:
            await self._storage.put(self._key, self._part.content)
            return
        await self._ship()
        parts = await asyncio.gather(*self._parts)
        await self._abort_twins(self._upload_id)
        await self._storage.complete_upload(self._key, self._upload_id, parts)
        self._upload_id = None

    async def abort(self) -> None:
        """Drop the upload, if one is open; the sweep is the second net."""
        if self._upload_id is None:
            return
        try:
            async with asyncio.timeout(ABORT_TIMEOUT_S):
                await self._storage.abort_upload(self._key, self._upload_id)
        except (ServiceError, TimeoutError) as error:
            log.warning("upload not aborted", object_key=self._key, error=type(error).__name__)

    async def _abort_twins(self, upload_id: str) -> None:
        """Abort other uploads under our key: begun by a request whose answer was lost."""
        async for upload in self._storage.list_uploads(self._key):
            if upload.upload_id != upload_id:
                await self._storage.abort_upload(upload.key, upload.upload_id)

    def part_bytes(self, parts: int) -> int:
        """Return how large the part after ``parts`` others should be."""
        return self._part_bytes << (parts // GROWTH_PARTS)

    async def _ship(self) -> None:
        await self._slots.acquire()
        if self._upload_id is None:
            self._upload_id = await self._storage.create_upload(self._key)
        upload = self._upload(self._upload_id, len(self._parts) + 1, self._part.content)
        self._parts.append(self._uploads.create_task(upload))
        self._part = _Part(self.part_bytes(len(self._parts)))

    async def _upload(self, upload_id: str, number: int, part: memoryview) -> UploadedPart:
        try:
            return await self._storage.upload_part(self._key, upload_id, number, part)
        finally:
            self._progress.moved()
            self._slots.release()


@asynccontextmanager
async def open_sink(
    storage: ObjectStorage, object_key: str, settings: Settings, progress: Progress
) -> AsyncIterator[PartSink]:
    """Open a sink; on any error or cancel its uploads end and the upload is aborted.

    A part that fails cancels the body of the ``async with`` at once.
    """
    uploads = asyncio.TaskGroup()
    sink = PartSink(storage, object_key, settings, progress, uploads)
    try:
        async with first_error(), uploads:
            yield sink
    finally:
        await asyncio.shield(sink.abort())


@asynccontextmanager
async def first_error() -> AsyncIterator[None]:
    """Raise one error for a task group's many: the first, bare."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
