"""Objects and uploads that no export owns: found by listing the bucket, and erased."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import transaction
from app.errors import StorageRefused
from app.models import exports
from app.ports import ObjectStorage

log = structlog.get_logger()

BATCH = 500


@dataclass(frozen=True)
class Found:
    """An object (``upload_id`` is ``None``) or an upload under a key of ours."""

    key: str
    upload_id: str | None
    seller_id: int
    export_id: UUID
    attempt: int


class Orphans:
    """The last net: for what was stored after everybody who knew of it had died.

    Only keys that look like an attempt's are touched, and only when they are
    older than ``orphan_age_s``, so that nothing still being made is erased.
    """

    def __init__(self, engine: AsyncEngine, storage: ObjectStorage, settings: Settings) -> None:
        self._engine = engine
        self._storage = storage
        self._prefix = settings.s3_prefix
        self._age = timedelta(seconds=settings.orphan_age_s)
        self._pattern = re.compile(
            re.escape(settings.s3_prefix)
            + r"(?P<seller>\d{1,19})/(?P<export>[0-9a-f-]{36})/(?P<attempt>\d{1,9})\.csv"
        )

    async def erase(self) -> int:
        """Erase every orphan and return how many there were.

        Raises:
            TemporaryError: something is away; begin again later.
        """
        erased = 0
        batch: list[Found] = []
        async for found in self._found():
            batch.append(found)
            if len(batch) == BATCH:
                erased += await self._erase_unowned(batch)
                batch.clear()
        return erased + await self._erase_unowned(batch)

    async def _found(self) -> AsyncIterator[Found]:
        before = datetime.now(UTC) - self._age
        async for upload in self._storage.list_uploads(self._prefix):
            found = self._parsed(upload.key, upload.upload_id)
            if found is not None and upload.initiated_at <= before:
                yield found
        async for item in self._storage.list_objects(self._prefix):
            found = self._parsed(item.key, None)
            if found is not None and item.modified_at <= before:
                yield found

    def _parsed(self, key: str, upload_id: str | None) -> Found | None:
        match = self._pattern.fullmatch(key)
        if match is None:
            return None
        try:
            export_id = UUID(match["export"])
        except ValueError:
            return None
        return Found(key, upload_id, int(match["seller"]), export_id, int(match["attempt"]))

    async def _erase_unowned(self, batch: list[Found]) -> int:
        owned = await self._owned(batch)
        orphans = [found for found in batch if not self._is_owned(found, owned)]
        for orphan in orphans:
            await self._erase(orphan)
        return len(orphans)

    async def _erase(self, orphan: Found) -> None:
        known_as = {
            "export_id": str(orphan.export_id),
            "seller_id": orphan.seller_id,
            "attempt": orphan.attempt,
        }
        log.warning("orphan erased", **known_as, is_upload=bool(orphan.upload_id))
        try:
            if orphan.upload_id is not None:
                await self._storage.abort_upload(orphan.key, orphan.upload_id)
            else:
                await self._storage.delete(orphan.key)
        except StorageRefused as error:
            log.warning("orphan stays", **known_as, error=error.code, why=str(error))

    def _is_owned(self, found: Found, owned: dict[UUID, tuple[str | None, int | None]]) -> bool:
        object_key, running = owned.get(found.export_id, (None, None))
        return found.key == object_key or found.attempt == running

    async def _owned(self, batch: list[Found]) -> dict[UUID, tuple[str | None, int | None]]:
        """Return each export's object key and, while it runs, its attempt."""
        query = select(
            exports.c.id, exports.c.object_key, exports.c.status, exports.c.attempt
        ).where(
            exports.c.seller_id.in_({found.seller_id for found in batch}),
            exports.c.id.in_({found.export_id for found in batch}),
        )
        async with transaction(self._engine) as connection:
            rows = await connection.execute(query)
            return {
                row.id: (
                    row.object_key if row.status != "deleted" else None,
                    row.attempt if row.status == "running" else None,
                )
                for row in rows
            }
