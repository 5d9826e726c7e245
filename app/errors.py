"""The errors of this service. None of them knows HTTP; ``app.api.problems`` translates them.

::

    ServiceError
    ├── TemporaryError                 retry later: it may succeed
    │   ├── StorageUnavailable
    │   │   ├── FileDamaged
    │   │   └── FileRemains
    │   ├── DatabaseUnavailable
    │   ├── ReadConflict
    │   ├── ReplicaLagging
    │   ├── StreamStalled
    │   ├── QueueUnavailable
    │   ├── MailDeferred
    │   │   └── MailUnanswered
    │   ├── WebhookFailed
    │   ├── JwksUnavailable
    │   ├── Unexpected
    │   └── QueueFull
    └── PermanentError                 do not retry: the identical request fails again
        ├── StorageRefused
        │   └── ObjectNotFound
        ├── MailRefused
        ├── SettingsInvalid
        ├── InvalidImportFile
        ├── TokenInvalid
        ├── InsufficientScope
        ├── Forbidden
        ├── RequestInvalid
        ├── InvalidLines
        ├── IdempotencyKeyReused
        ├── QuotaExceeded
        ├── ExportNotFound
        ├── ExportNotReady
        ├── ExportGone
        └── LeaseLost

Every class has a stable ``code``, which appears in an export's ``error.code``,
in the ``type`` of problem documents and in metric labels.
"""

from typing import Literal


class ServiceError(Exception):
    """Base of all expected errors; the message is safe to show to users."""

    code = "internal"


class TemporaryError(ServiceError):
    """Temporary: a later attempt may succeed."""

    code = "temporary"


class PermanentError(ServiceError):
    """Permanent: retrying the identical request fails again."""

    code = "final"


class StorageUnavailable(TemporaryError):
    """The object store timed out, lost the connection or returned 429 or 5xx."""

    code = "storage_unavailable"


class FileDamaged(StorageUnavailable):
    """The store has, or was sent, other bytes than ours."""

    code = "file_damaged"


class FileRemains(StorageUnavailable):
    """The store confirmed a deletion and still has the object."""

    code = "file_remains"


class DatabaseUnavailable(TemporaryError):
    """The connection to PostgreSQL was refused or lost."""

    code = "database_unavailable"


class ReadConflict(TemporaryError):
    """A replica cancelled the query, which conflicted with replication (SQLSTATE 40001)."""

    code = "source_busy"


class ReplicaLagging(TemporaryError):
    """A replica has not replayed everything written before the export was requested."""

    code = "replica_behind"


class StreamStalled(TemporaryError):
    """No data moved from the database to the store for ``STALL_TIMEOUT_S``."""

    code = "stream_stalled"


class QueueUnavailable(TemporaryError):
    """Redis is unavailable or refuses the command."""

    code = "queue_unavailable"


class MailDeferred(TemporaryError):
    """The mail server is unavailable, replied 4xx, or refuses us rather than the recipient.

    ``detail`` is for operators: the SMTP step and the server's reply, redacted.
    """

    code = "mail_deferred"

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.detail = detail or reason


class MailUnanswered(MailDeferred):
    """The content was sent and no reply arrived: the server may have accepted the message."""

    code = "mail_unanswered"


class WebhookFailed(TemporaryError):
    """A webhook endpoint is unavailable, or its address is not permitted."""

    code = "webhook_failed"


class JwksUnavailable(TemporaryError):
    """The JWKS server cannot be reached and no cached key matches."""

    code = "keys_unavailable"


class Unexpected(TemporaryError):
    """An unexpected error; the log has its trace."""

    code = "internal"


class StorageRefused(PermanentError):
    """The bucket does not exist, access is denied, or the store's settings are invalid."""

    code = "storage_refused"


class ObjectNotFound(StorageRefused):
    """The object or the multipart upload does not exist."""

    code = "object_missing"


class MailRefused(PermanentError):
    """The mail server refuses the recipient permanently.

    ``detail`` is for operators, as in :class:`MailDeferred`.
    """

    code = "mail_refused"

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.detail = detail or reason


class SettingsInvalid(PermanentError):
    """A setting is invalid: the service must not start with it."""

    code = "settings_invalid"


class InvalidImportFile(PermanentError):
    """A file to import cannot be read, or its header is invalid."""

    code = "invalid_import_file"


class TokenInvalid(PermanentError):
    """The caller's token is missing, malformed, expired or for another audience."""

    code = "token_invalid"


class InsufficientScope(PermanentError):
    """The caller's token lacks a required ``scope``."""

    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"The token lacks the required scope {scope}.")
        self.scope = scope


class Forbidden(PermanentError):
    """A seller's token asked for another seller, or for a recipient other than its own."""

    code = "recipient_forbidden"


class RequestInvalid(PermanentError):
    """The request is invalid; ``field`` is the name of the invalid field."""

    code = "request_invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class InvalidLines(PermanentError):
    """Lines of the body are invalid; ``lines`` holds line numbers, from 1, and reasons."""

    code = "lines_invalid"

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        super().__init__(f"Nothing was applied: invalid lines: {len(lines):,}.")
        self.lines = lines


class IdempotencyKeyReused(PermanentError):
    """An idempotency key was used again with a different request."""

    code = "idempotency_key_reused"


QuotaLimit = Literal["active_exports", "exports_per_hour"]
"""The quotas of a seller that a problem document names."""


class QuotaExceeded(PermanentError):
    """A seller's limit is reached; ``retry_after_s`` is the time until a retry can succeed.

    ``limit`` names the limit where a client may want to explain it, and ``maximum`` is its value.
    """

    code = "quota_exceeded"

    def __init__(
        self,
        reason: str,
        retry_after_s: int,
        limit: QuotaLimit | None = None,
        maximum: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.maximum = maximum


class QueueFull(TemporaryError):
    """Too many exports of all sellers are waiting; ``retry_after_s`` as in ``QuotaExceeded``."""

    code = "queue_full"

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ExportNotFound(PermanentError):
    """The export does not exist, or belongs to another seller."""

    code = "export_not_found"


class ExportNotReady(PermanentError):
    """The export has no file yet, or its status does not allow the request."""

    code = "export_not_ready"


class ExportGone(PermanentError):
    """The export's file has expired or was deleted."""

    code = "export_gone"


class LeaseLost(PermanentError):
    """The worker no longer holds the export's lease: it expired, or the export was cancelled."""

    # Permanent: `retry_until` would repeat a temporary one, and the heartbeat would ignore it.
    code = "lease_lost"
