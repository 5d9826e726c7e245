"""The outbox of notices: which large lists the address of ``NOTIFY_EMAIL`` is told of."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from app.models.base import counter_column, metadata, timestamp_column

list_notices = Table(
    "list_notices",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("export_id", Uuid, nullable=False),
    timestamp_column("created_at", default=True),
    Column("status", Text, nullable=False, server_default="pending"),
    timestamp_column("due_at", default=True),
    counter_column("attempts"),
    counter_column("unanswered"),
    timestamp_column("sent_at"),
    Column("error", Text),
    PrimaryKeyConstraint("seller_id", "export_id"),
    CheckConstraint("status IN ('pending', 'sent', 'failed')", name="status"),
    Index("list_notices_due_idx", "due_at", postgresql_where=text("status = 'pending'")),
    Index("list_notices_created_idx", "created_at"),
)
"""One row for each list above ``NOTIFY_ABOVE_ROWS``, inserted with its success; kept for 30 days.

- ``due_at``: from when it may be claimed; a claim moves it to the end of its lease.
- ``unanswered``: how often the content was sent and no reply arrived.
- ``error``: for operators, why the last try failed: the server's reply, redacted.
"""
