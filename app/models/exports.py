"""The exports, the keys of their requests, and the frozen record of one export."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self
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
    Row,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from app.correlation import REQUEST_ID_MAX, TRACEPARENT_LENGTH
from app.models.base import count, instant, metadata, tally
from app.ports import Lane

CURRENT_LSN = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'::pg_lsn)"
"""Whatever is visible now, the primary's log holds before this byte."""

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
    Column("recipient_email", Text, nullable=False),
    Column("requested_by", Text),
    Column("service", Text),
    Column("request_id", String(REQUEST_ID_MAX)),
    Column("traceparent", String(TRACEPARENT_LENGTH)),
    Column("fingerprint", LargeBinary, nullable=False),
    instant("created_at", default=True),
    tally("attempt"),
    tally("failures"),
    instant("due_at", default=True),
    Column("lane", Text, nullable=False, server_default="small"),
    instant("turn_at", default=True),
    Column("worker", Text),
    instant("lease_expires_at"),
    instant("started_at"),
    instant("snapshot_at"),
    count("rows_exported"),
    count("rows_estimated"),
    instant("finished_at"),
    instant("expires_at"),
    Column("object_key", Text),
    Column("file_name", Text),
    Column("file_rows", BigInteger),
    Column("file_bytes", BigInteger),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("email_status", Text),
    instant("email_due_at"),
    tally("email_attempts"),
    tally("email_sequence"),
    instant("email_sent_at"),
    Column(
        "email_resent_at",
        ARRAY(DateTime(timezone=True)),
        nullable=False,
        server_default=text("'{}'"),
    ),
    Column("residue", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("asked_lsn", BigInteger, server_default=text(CURRENT_LSN)),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint(f"status IN {STATUSES}", name="status"),
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
        postgresql_where=text("snapshot_at IS NULL AND status IN ('queued', 'running')"),
    ),
    Index(
        "exports_active_idx",
        "seller_id",
        "id",
        postgresql_where=text("status IN ('queued', 'running')"),
    ),
    Index("exports_turn_idx", "lane", "turn_at", postgresql_where=text("status = 'queued'")),
    Index("exports_created_idx", "seller_id", "created_at"),
    Index(
        "exports_email_due_idx",
        "email_due_at",
        postgresql_where=text("email_status = 'pending'"),
    ),
    Index("exports_expires_idx", "expires_at", postgresql_where=text("status = 'succeeded'")),
    Index("exports_residue_idx", "id", postgresql_where=text("cardinality(residue) > 0")),
)
"""One row an export, kept 30 days after its end.

``fingerprint`` is the request's SHA-256; ``due_at`` when a queued export may
run (later after a failure); ``turn_at`` the order within its ``lane``;
``request_id`` and ``traceparent`` those of the request; ``residue`` the numbers
of fenced attempts that may have left a session, an upload or an object behind;
``asked_lsn`` how far the primary's log had come, in bytes, when the export was
last asked for.
"""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("export_id", Uuid, nullable=False),
    instant("created_at", default=True),
    PrimaryKeyConstraint("seller_id", "key"),
    Index("idempotency_keys_created_idx", "created_at"),
)
"""The keys that callers sent with a request, kept 24 hours."""


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
    request_id: str | None = None
    traceparent: str | None = None
    asked_lsn: int | None = None
    lane: Lane = "small"

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Make the record of a row that holds :data:`EXPORT_COLUMNS`."""
        return cls(**row._mapping)

    @classmethod
    def of_record(cls, record: Record) -> Self:
        """Make the same of a row that came by a :class:`app.statements.Statement`."""
        return cls(**dict(record))

    @property
    def is_active(self) -> bool:
        """Whether the export still waits or runs."""
        return self.status in ACTIVE


EXPORT_COLUMNS = tuple(exports.c[field.name] for field in fields(Export))
"""What to select for :meth:`Export.of`, named so that a newer schema does no harm."""

EXPORT_NAMES = ", ".join(f"exports.{column.name}" for column in EXPORT_COLUMNS)
"""The same for SQL text."""
