"""The service's own tables and the frozen record of one export."""

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
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Row,
    String,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.correlation import REQUEST_ID_MAX, TRACEPARENT_LENGTH
from app.ports import Lane

CURRENT_LSN = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'::pg_lsn)"
"""Whatever is visible now, the primary's log holds before this byte."""

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

ACTIVE = ("queued", "running")
STATUSES = (*ACTIVE, "succeeded", "failed", "cancelled", "expired", "deleted")


def _instant(name: str, *, default: bool = False) -> Column[datetime]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=not default,
        server_default=text("clock_timestamp()") if default else None,
    )


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _tally(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


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
    _instant("created_at", default=True),
    _tally("attempt"),
    _tally("failures"),
    _instant("due_at", default=True),
    Column("lane", Text, nullable=False, server_default="small"),
    _instant("turn_at", default=True),
    Column("worker", Text),
    _instant("lease_expires_at"),
    _instant("started_at"),
    _instant("snapshot_at"),
    _count("rows_exported"),
    _count("rows_estimated"),
    _instant("finished_at"),
    _instant("expires_at"),
    Column("object_key", Text),
    Column("file_name", Text),
    Column("file_rows", BigInteger),
    Column("file_bytes", BigInteger),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("email_status", Text),
    _instant("email_due_at"),
    _tally("email_attempts"),
    _tally("email_sequence"),
    _instant("email_sent_at"),
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
    _instant("created_at", default=True),
    PrimaryKeyConstraint("seller_id", "key"),
    Index("idempotency_keys_created_idx", "created_at"),
)
"""The keys that callers sent with a request, kept 24 hours."""

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("service", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    _instant("old_secret_until"),
    _instant("created_at", default=True),
    _instant("disabled_at"),
)
"""Where a service, named by the ``sub`` of its tokens, is told of its exports' ends."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    Column("export_id", Uuid, nullable=False),
    Column("service", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    _tally("attempts"),
    _instant("due_at", default=True),
    _instant("created_at", default=True),
    _instant("delivered_at"),
    Column("last_error", Text),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    Index(
        "webhook_deliveries_due_idx",
        "service",
        "due_at",
        postgresql_where=text("status = 'pending'"),
    ),
    Index("webhook_deliveries_created_idx", "created_at"),
)
"""What services are told, written by a trigger when an export ends; kept 30 days."""

import_totals = Table(
    "import_totals",
    metadata,
    Column("outcome", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
)
"""How many rows all imports so far have added, changed and rejected."""

source_keys = Table(
    "source_keys",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text(collation="C"), nullable=False),
    Column("version", BigInteger),
    Column("row_id", BigInteger),
    _instant("deleted_at"),
    PrimaryKeyConstraint("seller_id", "source", "key"),
    CheckConstraint("(row_id IS NULL) = (deleted_at IS NOT NULL)", name="row"),
    Index("source_keys_deleted_idx", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
)
"""The storefront's own keys of fed rows; one that is deleted is kept 90 days.

``version`` is null where an import without versions wrote the row ``row_id``.
"""

ACTIONS = (
    "requested",
    "joined",
    "downloaded",
    "opened",
    "resent",
    "cancelled",
    "erased",
    "expired",
    "copied",
)

export_audit = Table(
    "export_audit",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    Column("export_id", Uuid, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text),
    Column("recipient_email", Text),
    Column("client_address", Text),
    Column("user_agent", Text),
    _instant("at", default=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint(f"action IN {ACTIONS}", name="action"),
    Index("export_audit_export_idx", "export_id", "id"),
    Index(
        "export_audit_origins_idx",
        "at",
        postgresql_where=text("client_address IS NOT NULL OR user_agent IS NOT NULL"),
    ),
)
"""What was done to an export and by whom; outlives the export's row, append-only by trigger."""


export_days = Table(
    "export_days",
    metadata,
    Column("day", Date, nullable=False),
    Column("sources", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("exports", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "sources", "outcome", "error_code"),
)
"""Exports whose rows are gone, by the day of UTC they were asked for."""

export_seller_days = Table(
    "export_seller_days",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("requested", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    PrimaryKeyConstraint("seller_id", "day"),
    Index("export_seller_days_day_idx", "day"),
)
"""The same exports by seller."""

export_durations = Table(
    "export_durations",
    metadata,
    Column("day", Date, nullable=False),
    Column("measure", Text, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("exports", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    PrimaryKeyConstraint("day", "measure", "bucket"),
)
"""How long those that succeeded took, in the buckets of ``app.exports.durations``."""


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
