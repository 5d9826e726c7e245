"""What an attempt that did not succeed may have left outside, and its removal."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import transaction
from app.models import Export
from app.ports import ObjectStorage


class Residue:
    """Clears attempts' database sessions, multipart uploads and objects."""

    def __init__(
        self,
        engine: AsyncEngine,
        audience_engine: AsyncEngine,
        storage: ObjectStorage,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._audience_engine = audience_engine
        self._storage = storage
        self._settings = settings

    async def clear(
        self, seller_id: int, export_id: UUID, attempt: int, file_key: str | None = None
    ) -> None:
        """Remove what an attempt left, and its number from the row's ``residue``.

        Only for attempts that own nothing any more. ``file_key`` is where a
        deleted export's file is, which an earlier ``S3_PREFIX`` may have put
        elsewhere. May be repeated, also by several at once.

        Raises:
            TemporaryError: something is away; repeat it later.
            StorageRefused: repeat it when the operator has mended the store.
        """
        try:
            await self._end_sessions(session_name(export_id, attempt))
        finally:  # also while the replica is away
            for key in {object_key(self._settings, seller_id, export_id, attempt), file_key}:
                if key is not None:
                    await self._erase(key)
        await self._forget(seller_id, export_id, attempt)

    async def stop(self, export: Export) -> None:
        """End the database sessions of the export's latest attempt, and so its COPY.

        Raises:
            DatabaseUnavailable: repeat it later.
        """
        await self._end_sessions(session_name(export.id, export.attempt))

    async def _end_sessions(self, name: str) -> None:
        """End the sessions on both servers: reads may have fallen back to the primary."""
        for engine in (self._audience_engine, self._engine):
            async with transaction(engine) as connection:
                await connection.execute(
                    text("""
                        SELECT pg_terminate_backend(pid)
                        FROM pg_stat_activity
                        WHERE application_name = :name AND usename = current_user
                    """),
                    {"name": name},
                )

    async def _erase(self, key: str) -> None:
        async for upload in self._storage.list_uploads(key):
            await self._storage.abort_upload(upload.key, upload.upload_id)
        await self._storage.delete(key)

    async def _forget(self, seller_id: int, export_id: UUID, attempt: int) -> None:
        async with transaction(self._engine) as connection:
            await connection.execute(
                text("""
                    UPDATE exports
                    SET residue = array_remove(residue, :attempt),
                        object_key = CASE WHEN status <> 'deleted' THEN object_key END
                    WHERE seller_id = :seller_id AND id = :id
                """),
                {"seller_id": seller_id, "id": export_id, "attempt": attempt},
            )


def object_key(settings: Settings, seller_id: int, export_id: UUID, attempt: int) -> str:
    """Return where an attempt stores its file: no two attempts share a key."""
    return f"{settings.s3_prefix}{seller_id}/{export_id}/{attempt}.csv"


def session_name(export_id: UUID, attempt: int) -> str:
    """Return the ``application_name`` of an attempt's database sessions."""
    return f"export {export_id} {attempt}"
