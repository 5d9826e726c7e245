"""What was done to exports."""

from typing import Literal, get_args

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
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import instant, metadata

Action = Literal[
    "requested",
    "joined",
    "downloaded",
    "opened",
    "resent",
    "cancelled",
    "erased",
    "expired",
    "copied",
]

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
    instant("at", default=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint(f"action IN {get_args(Action)}", name="action"),
    Index("export_audit_export_idx", "export_id", "id"),
    Index(
        "export_audit_origins_idx",
        "at",
        postgresql_where=text("client_address IS NOT NULL OR user_agent IS NOT NULL"),
    ),
)
"""What was done to an export and by whom; outlives the export's row, append-only by trigger."""
