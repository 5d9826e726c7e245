"""Tables for imports and events."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from app.models.base import metadata, timestamp_column

import_totals = Table(
    "import_totals",
    metadata,
    Column("outcome", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
)
"""The number of rows that all imports so far have added, changed and rejected, by outcome."""

source_keys = Table(
    "source_keys",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text(collation="C"), nullable=False),
    Column("version", BigInteger),
    Column("row_id", Text),
    timestamp_column("deleted_at"),
    PrimaryKeyConstraint("seller_id", "source", "key"),
    CheckConstraint("(row_id IS NULL) = (deleted_at IS NOT NULL)", name="row"),
    Index("source_keys_deleted_idx", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
)
"""The storefront's own keys, mapped to the source rows that were imported or sent as events.

``row_id`` is the row's id in its source table; null for a tombstone, which is retained for
90 days after ``deleted_at``. ``version`` is null if an import without versions wrote the row.
"""
