"""Who is told of the ends of exports, and what."""

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

from app.models.base import instant, metadata, tally

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("service", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    instant("old_secret_until"),
    instant("created_at", default=True),
    instant("disabled_at"),
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
    tally("attempts"),
    instant("due_at", default=True),
    instant("created_at", default=True),
    instant("delivered_at"),
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
