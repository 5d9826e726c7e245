"""The exports, the keys of their requests, and the frozen record of one export."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Self
from uuid import UUID

from asyncpg import Record
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from app.models.base import count_column, counter_column, metadata, timestamp_column
from app.models.file_options import (
    FILE_OPTION_NAMES,
    Delimiter,
    FileFormatKey,
    FileOptions,
)
from app.models.keys import AttemptKey, ExportKey
from app.observability.correlation import REQUEST_ID_MAX, TRACEPARENT_LENGTH
from app.ports import Lane

# Not pg_current_wal_lsn(): with synchronous_commit off, what is visible may not be written yet.
CURRENT_LSN = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'::pg_lsn)"
"""The write position of the primary's WAL, in bytes: all that is visible now lies before it."""

ACTIVE = ("queued", "running")
STATUSES = (*ACTIVE, "succeeded", "failed", "cancelled", "expired", "deleted")

exports = Table(
    "exports",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("sources", ARRAY(Text), nullable=False),
    Column("columns", ARRAY(Text), nullable=False),
    Column("spreadsheet_safe", Boolean, nullable=False),
    Column("bom", Boolean, nullable=False),
    Column("format", Text, nullable=False, server_default="csv"),
    Column("delimiter", Text, nullable=False, server_default=","),
    Column("locale", Text, nullable=False, server_default="en"),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    timestamp_column("joined_after"),
    timestamp_column("joined_before"),
    Column("recipient_email", Text, nullable=False),
    Column("requested_by", Text),
    Column("service", Text),
    Column("request_id", String(REQUEST_ID_MAX)),
    Column("traceparent", String(TRACEPARENT_LENGTH)),
    Column("fingerprint", LargeBinary, nullable=False),
    timestamp_column("created_at", default=True),
    counter_column("attempt"),
    counter_column("failures"),
    timestamp_column("due_at", default=True),
    Column("lane", Text, nullable=False, server_default="small"),
    timestamp_column("queue_order_at", default=True),
    Column("worker", Text),
    timestamp_column("lease_expires_at"),
    timestamp_column("started_at"),
    timestamp_column("first_started_at"),
    timestamp_column("snapshot_at"),
    count_column("rows_exported"),
    count_column("rows_estimated"),
    timestamp_column("finished_at"),
    timestamp_column("expires_at"),
    Column("object_key", Text),
    Column("file_name", Text),
    Column("file_rows", BigInteger),
    Column("file_bytes", BigInteger),
    Column("file_checksum", Text),
    Column("file_refused_addresses", BigInteger),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("email_status", Text),
    timestamp_column("email_due_at"),
    counter_column("email_attempts"),
    counter_column("email_sequence"),
    timestamp_column("email_sent_at"),
    counter_column("email_unanswered"),
    Column("email_error", Text),
    Column(
        "email_resent_at",
        ARRAY(DateTime(timezone=True)),
        nullable=False,
        server_default=text("'{}'"),
    ),
    count_column("download_count"),
    timestamp_column("downloaded_at"),
    timestamp_column("retried_at"),
    timestamp_column("deletion_requested_at"),
    Column("uncleaned_attempts", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("required_lsn", BigInteger, server_default=text(CURRENT_LSN)),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
    CheckConstraint("format IN ('csv', 'xlsx')", name="format"),
    CheckConstraint("delimiter IN (',', ';', E'\\t')", name="delimiter"),
    CheckConstraint("lane IN ('small', 'large')", name="lane"),
    CheckConstraint("email_status IN ('pending', 'sent', 'failed')", name="email_status"),
    CheckConstraint("cardinality(sources) > 0", name="sources"),
    CheckConstraint("cardinality(columns) > 0", name="columns"),
    Index("exports_id_idx", "id"),
    Index(
        "exports_identical_key",
        "seller_id",
        "fingerprint",
        unique=True,
        # Only before the snapshot: it lacks what changed since, so that no request may join it.
        postgresql_where=text("snapshot_at IS NULL AND status IN ('queued', 'running')"),
    ),
    Index(
        "exports_active_idx",
        "seller_id",
        "id",
        postgresql_where=text("status IN ('queued', 'running')"),
    ),
    Index(
        "exports_queue_order_idx",
        "lane",
        "queue_order_at",
        postgresql_where=text("status = 'queued'"),
    ),
    Index("exports_status_idx", "status", "id"),
    Index(
        "exports_email_due_idx",
        "email_due_at",
        postgresql_where=text("email_status = 'pending'"),
    ),
    Index("exports_expires_idx", "expires_at", "id", postgresql_where=text("status = 'succeeded'")),
    Index(
        "exports_ended_idx",
        # The index serves only statements with the same expression: `ROLL_UP_AND_DELETE`.
        text("GREATEST(finished_at, expires_at)"),
        postgresql_where=text(
            "status NOT IN ('queued', 'running', 'succeeded') AND cardinality(uncleaned_attempts) "
            "= 0"
        ),
    ),
    Index(
        "exports_deletion_idx",
        "deletion_requested_at",
        postgresql_where=text("status = 'succeeded' AND deletion_requested_at IS NOT NULL"),
    ),
    Index(
        "exports_uncleaned_attempts_idx",
        "id",
        postgresql_where=text("cardinality(uncleaned_attempts) > 0"),
    ),
)
"""One row per export, retained for 30 days after it ended.

- ``columns`` to ``joined_before``: the options of the file, see :class:`FileOptions`.
- ``fingerprint``: SHA-256 of the request, for coalescing and idempotency.
- ``file_checksum``: CRC-32C of the file; ``crc32c:`` and the base64 of its four bytes, big-endian.
- ``file_refused_addresses``: how many of the file's addresses common mailing tools refuse.
- ``due_at``: from when a queued export may be claimed (later after a failure).
- ``first_started_at``: when the first attempt began, or the first since ``retried_at``.
- ``queue_order_at``: the order within its ``lane``.
- ``request_id``, ``traceparent``: those of the HTTP request.
- ``email_unanswered``: how often the mail's content was sent and no reply arrived.
- ``email_error``: for operators, why the last try failed: the server's reply, redacted.
- ``download_count``, ``downloaded_at``: how often the file was opened, and when last.
- ``retried_at``: when an operator last made a failed export run again.
- ``uncleaned_attempts``: numbers of fenced attempts that may have left a database session, a
  multipart upload or an object behind.
- ``deletion_requested_at``: from then on nobody can download the file; the status becomes
  ``deleted`` once the store no longer has it.
- ``required_lsn``: the primary's WAL position at the latest request, in bytes, which a replica
  must have replayed before the export reads from it.
"""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("export_id", Uuid, nullable=False),
    timestamp_column("created_at", default=True),
    PrimaryKeyConstraint("seller_id", "key"),
    Index("idempotency_keys_created_idx", "created_at"),
)
"""The ``Idempotency-Key`` of each request, by seller; retained for 24 hours."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """One row of ``exports``; instants are aware UTC."""

    seller_id: int
    id: UUID
    status: str
    sources: list[str]
    columns: list[str]
    spreadsheet_safe: bool
    bom: bool
    recipient_email: str
    created_at: datetime
    due_at: datetime
    attempt: int
    failures: int
    started_at: datetime | None
    snapshot_at: datetime | None
    rows_exported: int
    rows_estimated: int
    finished_at: datetime | None
    expires_at: datetime | None
    object_key: str | None
    file_name: str | None
    file_rows: int | None
    file_bytes: int | None
    error_code: str | None
    error_detail: str | None
    email_status: str | None
    email_attempts: int
    email_sequence: int
    email_sent_at: datetime | None
    email_unanswered: int = 0
    email_error: str | None = None
    deletion_requested_at: datetime | None = None
    request_id: str | None = None
    traceparent: str | None = None
    required_lsn: int | None = None
    lane: Lane = "small"
    format: FileFormatKey = "csv"
    delimiter: Delimiter = ","
    locale: str = "en"
    timezone: str = "UTC"
    joined_after: datetime | None = None
    joined_before: datetime | None = None
    file_checksum: str | None = None
    file_refused_addresses: int | None = None
    download_count: int = 0
    downloaded_at: datetime | None = None
    retried_at: datetime | None = None
    first_started_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Return the export of a row that has exactly :data:`EXPORT_COLUMN_LIST`."""
        return cls(**dict(row))

    @property
    def key(self) -> ExportKey:
        """The row's primary key."""
        return ExportKey(self.seller_id, self.id)

    @property
    def attempt_key(self) -> AttemptKey:
        """The latest attempt, whose number is 0 before the first."""
        return self.key.attempt(self.attempt)

    @property
    def options(self) -> FileOptions:
        """The options of the file."""
        values = {name: getattr(self, name) for name in FILE_OPTION_NAMES}
        return FileOptions(**values | {"columns": tuple(self.columns)})

    @property
    def is_active(self) -> bool:
        """Whether the export is queued or running."""
        return self.status in ACTIVE

    @property
    def is_being_deleted(self) -> bool:
        """Whether its deletion was requested and the store may still have the file."""
        return self.status == "succeeded" and self.deletion_requested_at is not None


EXPORT_COLUMNS = tuple(exports.c[field.name] for field in fields(Export))
"""What :meth:`Export.from_row` needs: named, so that columns of a newer schema do no harm."""

# Qualified: some statements join tables that have columns of the same names.
EXPORT_COLUMN_LIST = ", ".join(f"exports.{column.name}" for column in EXPORT_COLUMNS)
"""The same for SQL text."""
