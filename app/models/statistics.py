"""The roll-up of exports whose rows are gone."""

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
