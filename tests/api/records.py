"""Exports put straight into the database and the bucket, in any state."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from app.checksums import Crc32c
from app.models import EXPORT_COLUMNS, Export, exports
from app.resources import Resources

CSV = b"Email\na@example.com\n"

WEEK = timedelta(days=7)


class Records:
    """Writes exports as requests and workers would leave them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def add(self, status: str = "queued", **columns: Any) -> Export:
        """Insert an export of seller 1; one that ended well has a file in the bucket."""
        row = {
            "seller_id": 1,
            "status": status,
            "sources": ["follower"],
            "columns": ["email", "subscribed_at"],
            "spreadsheet_safe": True,
            "bom": False,
            "recipient_email": "seller1@example.com",
            "fingerprint": b"",
        }
        if status in ("succeeded", "expired", "deleted"):
            row |= await self._file()
        if status not in ("queued", "running"):
            row |= {"finished_at": datetime.now(UTC), "email_status": "pending"}
        async with self._resources.database.engine.begin() as connection:
            rows = await connection.execute(
                insert(exports).values(row | columns).returning(*EXPORT_COLUMNS)
            )
            return Export(**rows.one()._mapping)

    async def change(self, export: Export, **columns: Any) -> None:
        """Change an export's row and notify subscribers."""
        async with self._resources.database.engine.begin() as connection:
            await connection.execute(
                update(exports).where(exports.c.id == export.id).values(columns)
            )
        await self._resources.export_events.publish(export.id)

    async def count(self) -> int:
        """Return how many exports there are."""
        async with self._resources.database.engine.begin() as connection:
            return await connection.scalar(select(func.count()).select_from(exports)) or 0

    async def _file(self) -> dict[str, Any]:
        key = "exports/1/file.csv"
        await self._resources.storage.put(key, CSV)
        return {
            "object_key": key,
            "file_name": "audience-1-2026-11-22.csv",
            "file_rows": 1,
            "file_bytes": len(CSV),
            "file_checksum": Crc32c.of(CSV).label,
            "snapshot_at": datetime.now(UTC),
            "expires_at": datetime.now(UTC) + WEEK,
        }
