"""Cleanup of attempts that did not succeed: their sessions, uploads and objects."""

from uuid import UUID

from app.config import Settings
from app.database.database import Database
from app.errors import FileRemains, StorageRefused, TemporaryError
from app.exports.log_events import attempt_log_context, export_log_context, log_transition
from app.exports.notifications import publish_change
from app.exports.object_keys import object_key, session_name
from app.models import EXPORT_COLUMN_LIST, AttemptKey, Export, ExportKey
from app.models.file_options import FileFormatKey
from app.observability.limited_warnings import LimitedWarnings
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected
from app.ports import ExportEvents, ObjectStorage

# Before the attempt's number leaves the row, which says until then what is to be done.
RECORD_DELETED = f"""
    UPDATE exports
    SET status = 'deleted', object_key = NULL
    WHERE seller_id = :seller_id AND id = :id
    AND status = 'succeeded' AND deletion_requested_at IS NOT NULL
    RETURNING {EXPORT_COLUMN_LIST}
"""


BATCH = 500

BEFORE_ALL = UUID(int=0)

SELECT_UNCLEANED = """
    SELECT
        seller_id,
        id,
        uncleaned_attempts,
        format,
        -- Otherwise the file stays: an export that succeeded may have earlier attempts here.
        CASE WHEN deletion_requested_at IS NOT NULL THEN object_key END AS file_key
    FROM exports
    -- As in the predicate of the partial index: written otherwise, it would not be used.
    WHERE cardinality(uncleaned_attempts) > 0 AND id > :after
    ORDER BY id
    LIMIT :batch
"""

TERMINATE_SESSIONS = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    -- Any client can choose this name, and terminating the session of another role is an error.
    WHERE application_name = :name AND usename = current_user
"""

REMOVE_ATTEMPT = """
    UPDATE exports
    SET uncleaned_attempts = array_remove(uncleaned_attempts, :attempt)
    WHERE seller_id = :seller_id AND id = :id
"""


class AttemptCleaner:
    """Ends the database sessions of one attempt, and deletes its uploads and its object."""

    def __init__(
        self,
        database: Database,
        audience_database: Database,
        storage: ObjectStorage,
        settings: Settings,
    ) -> None:
        self._database = database
        self._audience_database = audience_database
        self._storage = storage
        self._settings = settings

    async def clean_up(
        self, attempt: AttemptKey, file_format: FileFormatKey, file_key: str | None = None
    ) -> Export | None:
        """Remove what an attempt left, and its number from the row's ``uncleaned_attempts``.

        Only for attempts without a lease. May be repeated, also by several workers at once.
        ``file_key`` is the file's key where the export is being deleted: an earlier ``S3_PREFIX``
        may have put it elsewhere. With the file gone the export is ``deleted``; it is returned to
        the one caller whose statement recorded that.

        Raises:
            TemporaryError: something is unavailable; repeat it later.
            FileRemains: the store still has an object after its deletion; repeat it later.
            StorageRefused: repeat it when the operator has fixed the store.
        """
        deleted = None
        try:
            await self._end_sessions(session_name(attempt))
        finally:  # files are deleted also while the replica is unavailable
            own_key = object_key(self._settings.s3_prefix, attempt, file_format)
            for key in {own_key, file_key}:
                if key is not None:
                    await self._delete_objects(key)
            if file_key is not None:
                deleted = await self._record_deleted(attempt.export)
        # Last: until then the row remembers what is left to do.
        await self._remove_from_row(attempt)
        return deleted

    async def terminate_sessions(self, export: Export) -> None:
        """End the database sessions of the export's latest attempt, and so its COPY.

        Raises:
            DatabaseUnavailable: repeat it later.
        """
        await self._end_sessions(session_name(export.attempt_key))

    async def _end_sessions(self, name: str) -> None:
        """End the sessions on both servers: reads may have fallen back to the primary."""
        for database in (self._audience_database, self._database):
            await database.execute(TERMINATE_SESSIONS, name=name)

    async def _delete_objects(self, key: str) -> None:
        # Uploads first: a frozen worker that completes one later would bring the object back.
        async for upload in self._storage.list_uploads(key):
            await self._storage.abort_upload(upload.key, upload.upload_id)
        await self._storage.delete(key)

    async def _record_deleted(self, key: ExportKey) -> Export | None:
        """Record that the file is gone; ``None`` where another worker did."""
        row = await self._database.fetchrow(RECORD_DELETED, **key._asdict())
        if row is None:
            return None
        deleted = Export.from_row(row)
        with export_log_context(deleted):
            log_transition("export deleted", deleted)
        return deleted

    async def _remove_from_row(self, attempt: AttemptKey) -> None:
        await self._database.execute(
            REMOVE_ATTEMPT, **attempt.export._asdict(), attempt=attempt.number
        )


class AttemptCleanup:
    """Periodic task: cleans up after attempts that did not succeed."""

    def __init__(
        self,
        database: Database,
        export_events: ExportEvents,
        attempt_cleaner: AttemptCleaner,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._export_events = export_events
        self._metrics = metrics or Metrics()
        self._attempt_cleaner = attempt_cleaner
        self._warnings = LimitedWarnings("attempt cleanup failed")
        self._after = BEFORE_ALL

    async def clean_up_failed_attempts(self) -> int:
        """Clean up after fenced attempts; return how many exports had any.

        Each call continues after the batch, or the unavailable file, that ended the one before, so
        that attempts that cannot be cleaned up do not block the others.

        Raises:
            StorageUnavailable: the store is unavailable.
        """
        uncleaned = await self._database.fetch(SELECT_UNCLEANED, after=self._after, batch=BATCH)
        self._after = uncleaned[-1]["id"] if len(uncleaned) == BATCH else BEFORE_ALL
        for row in uncleaned:
            key = ExportKey(row["seller_id"], row["id"])
            for number in row["uncleaned_attempts"]:
                with attempt_log_context(key.attempt(number)):
                    await self._clear(key.attempt(number), row["format"], row["file_key"])
        return len(uncleaned)

    async def _clear(
        self, attempt: AttemptKey, file_format: FileFormatKey, file_key: str | None
    ) -> None:
        try:
            deleted = await self._attempt_cleaner.clean_up(attempt, file_format, file_key)
            if deleted is not None:
                await publish_change(self._export_events, deleted)
        # Before TemporaryError, of which FileRemains is one: one file must not end the batch.
        except (StorageRefused, FileRemains) as error:
            self._warnings.log(error)
        except TemporaryError:
            self._after = attempt.export.id
            raise
        except Exception:  # one row must not block the others
            report_unexpected(self._metrics, "attempt cleanup")
