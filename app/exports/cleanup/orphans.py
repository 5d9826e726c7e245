"""Orphans: objects and uploads that no export owns, found by listing the bucket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from app.config import Settings
from app.database.database import Database
from app.errors import FileRemains, StorageRefused
from app.exports.log_events import attempt_log_context
from app.exports.object_keys import parse_object_key
from app.models import AttemptKey
from app.observability.limited_warnings import LimitedWarnings
from app.ports import ObjectStorage

log = structlog.get_logger()

BATCH = 500

SELECT_OWNED = """
    SELECT
        id,
        CASE
            WHEN status <> 'deleted' AND deletion_requested_at IS NULL THEN object_key
        END AS object_key,
        CASE status
            WHEN 'running' THEN attempt
            WHEN 'queued' THEN attempt + 1
        END AS first_owned_attempt
    FROM exports
    WHERE seller_id = ANY (CAST(:sellers AS bigint[])) AND id = ANY (CAST(:ids AS uuid[]))
"""


@dataclass(frozen=True)
class StoredAttempt:
    """An object (``upload_id`` is ``None``) or an upload under an attempt's key."""

    key: str
    upload_id: str | None
    attempt: AttemptKey


class OrphanCollector:
    """Deletes what was stored by workers that crashed before the row could say so.

    Only keys of attempts are touched, and only when they are older than ``orphan_min_age_s``, so
    that nothing is deleted that a running attempt still writes.
    """

    def __init__(self, database: Database, storage: ObjectStorage, settings: Settings) -> None:
        self._database = database
        self._storage = storage
        self._prefix = settings.s3_prefix
        self._age = timedelta(seconds=settings.orphan_min_age_s)
        self._warnings = LimitedWarnings("orphan delete failed")

    async def delete_orphans(self) -> int:
        """Delete every orphan and return how many there were.

        Raises:
            TemporaryError: something is unavailable; begin again later.
        """
        deleted = 0
        batch: list[StoredAttempt] = []
        async for found in self._found():
            batch.append(found)
            if len(batch) == BATCH:
                deleted += await self._delete_unowned(batch)
                batch.clear()
        return deleted + await self._delete_unowned(batch)

    async def _found(self) -> AsyncIterator[StoredAttempt]:
        before = datetime.now(UTC) - self._age
        async for upload in self._storage.list_uploads(self._prefix):
            attempt = parse_object_key(self._prefix, upload.key)
            if attempt is not None and upload.initiated_at <= before:
                yield StoredAttempt(upload.key, upload.upload_id, attempt)
        async for item in self._storage.list_objects(self._prefix):
            attempt = parse_object_key(self._prefix, item.key)
            if attempt is not None and item.modified_at <= before:
                yield StoredAttempt(item.key, None, attempt)

    async def _delete_unowned(self, batch: list[StoredAttempt]) -> int:
        owned = await self._owned(batch)
        orphans = [found for found in batch if not self._is_owned(found, owned)]
        for orphan in orphans:
            with attempt_log_context(orphan.attempt):
                await self._delete(orphan)
        return len(orphans)

    async def _delete(self, orphan: StoredAttempt) -> None:
        try:
            if orphan.upload_id is not None:
                await self._storage.abort_upload(orphan.key, orphan.upload_id)
            else:
                await self._storage.delete(orphan.key)
        # FileRemains is temporary, but concerns one object: it must not end the search.
        except (StorageRefused, FileRemains) as error:
            self._warnings.log(error)
        else:
            log.warning("orphan deleted", is_upload=bool(orphan.upload_id))

    def _is_owned(
        self, found: StoredAttempt, owned: dict[UUID, tuple[str | None, int | None]]
    ) -> bool:
        # An export without a row owns nothing: rows are deleted after their files.
        object_key, first = owned.get(found.attempt.export.id, (None, None))
        # Of an active export, later attempts too: a database that was restored gives their numbers
        # out again, and the new file would be deleted with the old one under its key.
        return found.key == object_key or (first is not None and found.attempt.number >= first)

    async def _owned(self, batch: list[StoredAttempt]) -> dict[UUID, tuple[str | None, int | None]]:
        """Return each export's object key and, while it is active, the first attempt it owns."""
        rows = await self._database.fetch(
            SELECT_OWNED,
            sellers=list({found.attempt.export.seller_id for found in batch}),
            ids=list({found.attempt.export.id for found in batch}),
        )
        return {row["id"]: (row["object_key"], row["first_owned_attempt"]) for row in rows}
