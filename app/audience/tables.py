"""The projection's tables, ``audience_members`` and its verifications, as SQLAlchemy tables.

The source tables are the storefront's: their columns are read from the database.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from app.audience.key_ranges import SAMPLE
from app.audience.sources import SOURCES
from app.models import metadata

ADDRESS = Text(collation="C")
INSTANT = DateTime(timezone=True)


projection_verifications = Table(
    "projection_verifications",
    metadata,
    Column("verified_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("drift_rows", BigInteger, nullable=False),
    PrimaryKeyConstraint("verified_at"),
)
"""The results of ``verify`` for all sellers, retained for 90 days."""

audience_members = Table(
    "audience_members",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("email", ADDRESS, nullable=False),
    *(Column(source.since, INSTANT) for source in SOURCES),
    PrimaryKeyConstraint("seller_id", "email"),
    Index(
        "audience_members_sample_idx",
        "seller_id",
        "email",
        postgresql_include=[source.since for source in SOURCES],
        postgresql_where=text(SAMPLE),
    ),
)
"""One row per seller and person: the earliest date of each source, null if not in it.

The primary key also INCLUDEs the dates, which SQLAlchemy cannot express.
"""

SOURCE_TABLES = frozenset(source.table for source in SOURCES)


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether Alembic should compare the object (its ``include_name`` hook)."""
    return not (kind == "table" and name in SOURCE_TABLES)
