"""What an attempt that did not succeed may have left outside, and its removal."""

from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import transaction
from app.errors import ServiceError
from app.ports import ObjectStorage

log = structlog.get_logger()


class Residue:
    """Clears an attempt's database sessions, multipart uploads and object."""

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

    async def clear(self, seller_id: int, export_id: UUID, attempt: int) -> None:
        """Remove what an attempt left; where that fails the sweep tries again.

        Only for attempts that own nothing any more: their number is in the
        row's ``residue``, and leaves it when all is gone.
        """
        try:
            await self._end_sessions(session_name(export_id, attempt))
            await self._erase(object_key(self._settings, seller_id, export_id, attempt))
            await self._forget(seller_id, export_id, attempt)
        except ServiceError as error:
            log.warning(
                "residue stays for now",
                export_id=str(export_id),
                attempt=attempt,
                error=error.code,
            )

    async def _end_sessions(self, name: str) -> None:
        async with transaction(self._audience_engine) as connection:
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
                    SET residue = array_remove(residue, :attempt)
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
