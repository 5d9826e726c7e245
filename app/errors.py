"""The errors of this service: facts for people and programs, no HTTP.

::

    ServiceError
    ├── TemporaryError                 again later may succeed
    │   ├── StorageUnavailable
    │   ├── DatabaseUnavailable
    │   ├── SourceBusy
    │   ├── ReplicaBehind
    │   ├── StreamStalled
    │   ├── QueueUnavailable
    │   ├── MailDeferred
    │   ├── WebhookFailed
    │   ├── KeysUnavailable
    │   ├── Unexpected
    │   └── QueueFull
    └── FinalError                     the same again would fail the same
        ├── StorageRefused
        │   └── ObjectMissing
        ├── MailRefused
        ├── SettingsInvalid
        ├── FileUnfit
        ├── TokenInvalid
        ├── ScopeMissing
        ├── RecipientForbidden
        ├── RequestInvalid
        ├── LinesInvalid
        ├── KeyReused
        ├── QuotaExceeded
        ├── ExportNotFound
        ├── ExportNotReady
        ├── ExportGone
        └── LeaseLost

Every class has a stable ``code``: it is what an export's ``error.code``, a
problem document's ``type`` and a metric's label are made of.
"""


class ServiceError(Exception):
    """Base of all errors raised on purpose; its text is fit for users."""

    code = "internal"


class TemporaryError(ServiceError):
    """Trying again later may succeed."""

    code = "temporary"


class FinalError(ServiceError):
    """Trying the same again would fail the same way."""

    code = "final"


class StorageUnavailable(TemporaryError):
    """The object store timed out, reset the connection or answered 5xx."""

    code = "storage_unavailable"


class DatabaseUnavailable(TemporaryError):
    """The connection to PostgreSQL was refused or lost."""

    code = "database_unavailable"


class SourceBusy(TemporaryError):
    """A standby cancelled the read in favour of replay (SQLSTATE 40001)."""

    code = "source_busy"


class ReplicaBehind(TemporaryError):
    """A standby has not replayed what was there when the export was asked for."""

    code = "replica_behind"


class StreamStalled(TemporaryError):
    """No byte moved from the database to the store for too long."""

    code = "stream_stalled"


class QueueUnavailable(TemporaryError):
    """Redis cannot be reached."""

    code = "queue_unavailable"


class MailDeferred(TemporaryError):
    """The mail server is unreachable or said "later" (4xx)."""

    code = "mail_deferred"


class WebhookFailed(TemporaryError):
    """A webhook's endpoint is away, or its address may not be called."""

    code = "webhook_failed"


class KeysUnavailable(TemporaryError):
    """The key server cannot be reached and no cached key fits."""

    code = "keys_unavailable"


class Unexpected(TemporaryError):
    """Something broke that nobody foresaw; the log has the trace."""

    code = "internal"


class StorageRefused(FinalError):
    """The bucket is missing or access to it is denied."""

    code = "storage_refused"


class ObjectMissing(StorageRefused):
    """The object or the multipart upload does not exist."""

    code = "object_missing"


class MailRefused(FinalError):
    """The mail server will not take this message (5xx)."""

    code = "mail_refused"


class SettingsInvalid(FinalError):
    """The service must not start with these settings."""

    code = "settings_invalid"


class FileUnfit(FinalError):
    """A file to be imported cannot be read, or its header does not fit."""

    code = "file_unfit"


class TokenInvalid(FinalError):
    """The caller's token is missing, malformed, expired or not for us."""

    code = "token_invalid"


class ScopeMissing(FinalError):
    """The caller's token lacks a scope that the call needs."""

    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a token with the scope {scope}.")
        self.scope = scope


class RecipientForbidden(FinalError):
    """A seller's token named another seller, or a recipient not its own."""

    code = "recipient_forbidden"


class RequestInvalid(FinalError):
    """The request makes no sense; ``field`` is the part at fault."""

    code = "request_invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class LinesInvalid(FinalError):
    """Some lines of a body are not what they should be; ``lines`` are numbers and reasons."""

    code = "lines_invalid"

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        super().__init__(f"Nothing was applied: {len(lines):,} of the lines cannot be.")
        self.lines = lines


class KeyReused(FinalError):
    """An idempotency key came back with a different request."""

    code = "idempotency_key_reused"


class QuotaExceeded(FinalError):
    """A limit is reached; ``retry_after_s`` says when to come back."""

    code = "quota_exceeded"

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class QueueFull(TemporaryError):
    """All sellers together have too many exports waiting."""

    code = "queue_full"

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ExportNotFound(FinalError):
    """No such export, or not one this caller may know of."""

    code = "export_not_found"


class ExportNotReady(FinalError):
    """The export has no file (yet), or not the state the call needs."""

    code = "export_not_ready"


class ExportGone(FinalError):
    """The export's file has expired or was erased."""

    code = "export_gone"


class LeaseLost(FinalError):
    """Another attempt, or a cancel, took this export from its worker."""

    code = "lease_lost"
