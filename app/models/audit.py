"""The audit table."""

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

from app.models.base import metadata, timestamp_column

Action = Literal[
    "requested",
    "coalesced",
    "downloaded",
    "link_followed",
    "url_issued",
    "resent",
    "retried",
    "cancelled",
    "erased",
    "expired",
    "exported_locally",
]

export_audit = Table(
    "export_audit",
    metadata,
    Column("seller_id", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    # No foreign key: entries outlive the export's row, and local exports have none.
    Column("export_id", Uuid, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text),
    Column("recipient_email", Text),
    Column("client_address", Text),
    Column("user_agent", Text),
    timestamp_column("at", default=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("seller_id", "id"),
    CheckConstraint(f"action IN {get_args(Action)}", name="action"),
    Index("export_audit_export_idx", "export_id", "id"),
    Index(
        "export_audit_client_idx",
        "at",
        postgresql_where=text("client_address IS NOT NULL OR user_agent IS NOT NULL"),
    ),
    Index("export_audit_at_idx", "at"),
)
"""One row per action on an export, with its actor. Append-only by a trigger; outlives the export.

Rows are deleted only in a transaction that sets ``audience_export.audit_retention_days``, and only
those that are older.

``actor`` is the caller's name (``sub`` or ``email``), null for the service itself;
``client_address`` and ``user_agent`` are removed after a while; ``details`` depend on the action.
``url_issued``: an address of the store left the service, in a response or a mail, which is so only
without ``PUBLIC_URL``; whether it was opened, only the store knows.
"""
