"""Tables of webhook endpoints and their deliveries."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("service", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    timestamp_column("old_secret_until"),
    timestamp_column("created_at", default=True),
    timestamp_column("disabled_at"),
    Column("all_exports", Boolean, nullable=False, server_default=text("false")),
)
"""Where a service, named by the ``sub`` of its tokens, is called when its exports have ended.

With ``all_exports`` it is called about every export, and when one is requested too.
"""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    Column("export_id", Uuid, nullable=False),
    Column("service", Text, nullable=False),
    # Not JSONB, which reorders keys: each try sends the same bytes.
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    counter_column("attempts"),
    timestamp_column("due_at", default=True),
    timestamp_column("created_at", default=True),
    timestamp_column("delivered_at"),
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
"""Calls of services, written by triggers on ``exports``; retained for 30 days."""
