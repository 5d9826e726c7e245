"""Tables of the roll-up: statistics of exports whose rows were deleted."""

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from app.models.base import metadata

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
"""Deleted exports by the UTC day of their request; ``sources`` joined by spaces."""

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
"""Deleted exports by seller and UTC day."""

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
"""Durations of deleted exports that succeeded, by UTC day.

``measure`` is the processing or the queue time, ``bucket`` a bucket of
``app.statistics.duration_sketch``, ``seconds`` the sum of the durations in it.
"""
