"""What the storefront feeds by import and by events."""

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

from app.models.base import instant, metadata

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
    instant("deleted_at"),
    PrimaryKeyConstraint("seller_id", "source", "key"),
    CheckConstraint("(row_id IS NULL) = (deleted_at IS NOT NULL)", name="row"),
    Index("source_keys_deleted_idx", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
)
"""The storefront's own keys of fed rows; one that is deleted is kept 90 days.

``version`` is null where an import without versions wrote the row ``row_id``.
"""
