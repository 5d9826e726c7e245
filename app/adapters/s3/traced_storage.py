"""Object storage with a trace span for each write."""

from collections.abc import AsyncIterator, Sequence

from app.checksums import Crc32c
from app.file_headers import DEFAULT_NAME
from app.observability.tracing import Tracer
from app.ports import Bytes, MultipartUpload, ObjectStorage, StoredObject, UploadedPart


class TracedStorage:
    """Wraps an :class:`ObjectStorage` with spans, which contain neither keys nor the bucket."""

    def __init__(self, storage: ObjectStorage, tracer: Tracer) -> None:
        self._storage = storage
        self._tracer = tracer

    async def put(self, key: str, body: Bytes, file_name: str = DEFAULT_NAME) -> Crc32c:
        """Store a small object in one request; return its checksum."""
        with self._tracer.start_child_span("put", {"store.bytes": len(body)}, kind="client"):
            return await self._storage.put(key, body, file_name)

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""
        return await self._storage.head(key)

    async def create_upload(self, key: str, file_name: str = DEFAULT_NAME) -> str:
        """Start a multipart upload and return its id."""
        with self._tracer.start_child_span("create upload", kind="client"):
            return await self._storage.create_upload(key, file_name)

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Upload one part."""
        attributes = {"store.part": number, "store.bytes": len(body)}
        with self._tracer.start_child_span("upload part", attributes, kind="client"):
            return await self._storage.upload_part(key, upload_id, number, body)

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> Crc32c:
        """Assemble the object from ``parts``; return its checksum."""
        with self._tracer.start_child_span(
            "complete upload", {"store.parts": len(parts)}, kind="client"
        ):
            return await self._storage.complete_upload(key, upload_id, parts)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload and delete its parts; does nothing if it does not exist."""
        with self._tracer.start_child_span("abort upload", kind="client"):
            await self._storage.abort_upload(key, upload_id)

    async def delete(self, key: str) -> None:
        """Delete an object in every version; it need not exist."""
        with self._tracer.start_child_span("delete", kind="client"):
            await self._storage.delete(key)

    def list_uploads(self, prefix: str) -> AsyncIterator[MultipartUpload]:
        """Yield every unfinished multipart upload whose key begins with ``prefix``."""
        return self._storage.list_uploads(prefix)

    def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""
        return self._storage.list_objects(prefix)

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return a URL that downloads the object as ``file_name``."""
        return await self._storage.presigned_url(key, file_name, lifetime_s)

    async def check(self) -> None:
        """Check that the bucket can be reached."""
        await self._storage.check()
