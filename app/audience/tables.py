"""The source tables and ``audience_members``, as SQLAlchemy knows them."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from app.audience.projection import member_email_sql
from app.audience.ranges import SAMPLE
from app.audience.sources import AFFILIATE, CUSTOMER, FOLLOWER, SOURCES, Source
from app.models import metadata

ADDRESS = Text(collation="C")
INSTANT = DateTime(timezone=True)


def _flag(name: str, *, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def _source_table(source: Source, *columns: Column[Any]) -> Table:
    return Table(
        source.table,
        metadata,
        Column("id", BigInteger, Identity(always=False), nullable=False),
        Column("seller_id", BigInteger, nullable=False),
        Column("email", Text),
        Column("created_at", INSTANT, nullable=False),
        *columns,
        Column("member_email", ADDRESS, Computed(member_email_sql(source), persisted=True)),
        PrimaryKeyConstraint("seller_id", "id"),
        Index(
            f"{source.table}_member_idx",
            "seller_id",
            "member_email",
            "created_at",
            postgresql_where=text("member_email IS NOT NULL"),
        ),
    )


followers = _source_table(
    FOLLOWER,
    Column("confirmed_at", INSTANT),
    Column("deleted_at", INSTANT),
)

purchases = _source_table(
    CUSTOMER,
    Column("state", Text, nullable=False),
    Column("can_contact", Boolean, server_default=text("true")),
    Column("refunded", Boolean),
    Column("chargeback_at", INSTANT),
    _flag("chargeback_reversed", default=False),
    _flag("is_gift_sender", default=False),
    Column("subscription_id", BigInteger),
    _flag("is_original_subscription", default=False),
    _flag("is_archived_original", default=False),
    Column("subscription_deactivated_at", INSTANT),
    _flag("subscription_is_test", default=False),
)

affiliates = _source_table(
    AFFILIATE,
    Column("deleted_at", INSTANT),
    Column("kind", Text, nullable=False, server_default="direct"),
    _flag("send_posts", default=True),
    Column("product_count", Integer, nullable=False, server_default=text("1")),
)

projection_verifications = Table(
    "projection_verifications",
    metadata,
    Column("verified_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("drift_rows", BigInteger, nullable=False),
    PrimaryKeyConstraint("verified_at"),
)
"""What ``verify`` found for all sellers, for ninety days."""

audience_members = Table(
    "audience_members",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("email", ADDRESS, nullable=False),
    *(Column(source.since, INSTANT) for source in SOURCES),
    PrimaryKeyConstraint("seller_id", "email"),
    Index("audience_members_sample_idx", "seller_id", "email", postgresql_where=text(SAMPLE)),
)
"""One row a person of a seller: the earliest date of each source, null where not in it.

The key INCLUDEs the dates, which SQLAlchemy has no word for.
"""
