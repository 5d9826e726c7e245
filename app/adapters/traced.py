"""A store whose requests are spans, where they are part of a trace."""

from collections.abc import AsyncIterator, Sequence

from app.ports import Bytes, ObjectStorage, OpenUpload, StoredObject, UploadedPart
from app.tracing import Tracer


class TracedStorage:
    """An :class:`ObjectStorage` that measures another; a span names no key and no bucket."""

    def __init__(self, storage: ObjectStorage, tracer: Tracer) -> None:
        self._storage = storage
        self._tracer = tracer

    async def put(self, key: str, body: Bytes) -> None:
        """Store a small object in one request."""
        with self._tracer.step("put", {"store.bytes": len(body)}, kind="client"):
            await self._storage.put(key, body)

    async def head(self, key: str) -> int | None:
        """Return the object's size in bytes, ``None`` where there is no object."""
        return await self._storage.head(key)

    async def create_upload(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        with self._tracer.step("create upload", kind="client"):
            return await self._storage.create_upload(key)

    async def upload_part(self, key: str, upload_id: str, number: int, body: Bytes) -> UploadedPart:
        """Store one part."""
        facts = {"store.part": number, "store.bytes": len(body)}
        with self._tracer.step("upload part", facts, kind="client"):
            return await self._storage.upload_part(key, upload_id, number, body)

    async def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> None:
        """Make the object of its parts, in the order of their numbers."""
        with self._tracer.step("complete upload", {"store.parts": len(parts)}, kind="client"):
            await self._storage.complete_upload(key, upload_id, parts)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone already is fine."""
        with self._tracer.step("abort upload", kind="client"):
            await self._storage.abort_upload(key, upload_id)

    async def delete(self, key: str) -> None:
        """Erase an object in every version; one that is gone already is fine."""
        with self._tracer.step("delete", kind="client"):
            await self._storage.delete(key)

    def list_uploads(self, prefix: str) -> AsyncIterator[OpenUpload]:
        """Yield every open upload whose key begins with ``prefix``."""
        return self._storage.list_uploads(prefix)

    def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""
        return self._storage.list_objects(prefix)

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        """Return an address that downloads the object as ``file_name``."""
        return await self._storage.presigned_url(key, file_name, lifetime_s)

    async def check(self) -> None:
        """Return when the bucket can be reached."""
        await self._storage.check()
