"""Exports and idempotency keys.

New tables only: locks nothing that is in use.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EXPORTS = """
CREATE TABLE exports (
    seller_id bigint NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    status text NOT NULL DEFAULT 'queued',
    sources text[] NOT NULL,
    columns text[] NOT NULL,
    spreadsheet_safe boolean NOT NULL,
    bom boolean NOT NULL,
    recipient_email text NOT NULL,
    requested_by text,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker text,
    lease_expires_at timestamptz,
    started_at timestamptz,
    snapshot_at timestamptz,
    rows_exported bigint NOT NULL DEFAULT 0,
    rows_estimated bigint NOT NULL DEFAULT 0,
    finished_at timestamptz,
    expires_at timestamptz,
    object_key text,
    file_name text,
    file_rows bigint,
    file_bytes bigint,
    error_code text,
    error_detail text,
    email_status text,
    email_due_at timestamptz,
    email_attempts integer NOT NULL DEFAULT 0,
    email_sequence integer NOT NULL DEFAULT 0,
    email_sent_at timestamptz,
    email_resent_at timestamptz[] NOT NULL DEFAULT '{}',
    residue integer[] NOT NULL DEFAULT '{}',
    CONSTRAINT exports_pkey PRIMARY KEY (seller_id, id),
    CONSTRAINT exports_status_check CHECK (
        status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired', 'deleted')
    ),
    CONSTRAINT exports_email_status_check CHECK (email_status IN ('pending', 'sent', 'failed')),
    CONSTRAINT exports_sources_check CHECK (cardinality(sources) > 0),
    CONSTRAINT exports_columns_check CHECK (cardinality(columns) > 0)
)
"""

INDEXES = (
    "CREATE INDEX exports_id_idx ON exports (id)",
    """
    CREATE UNIQUE INDEX exports_identical_key ON exports (seller_id, fingerprint)
    WHERE snapshot_at IS NULL AND status IN ('queued', 'running')
    """,
    """
    CREATE INDEX exports_active_idx ON exports (seller_id, id)
    WHERE status IN ('queued', 'running')
    """,
    "CREATE INDEX exports_created_idx ON exports (seller_id, created_at)",
    """
    CREATE INDEX exports_email_due_idx ON exports (email_due_at)
    WHERE email_status = 'pending'
    """,
    "CREATE INDEX exports_expires_idx ON exports (expires_at) WHERE status = 'succeeded'",
    "CREATE INDEX exports_residue_idx ON exports (id) WHERE cardinality(residue) > 0",
)

IDEMPOTENCY_KEYS = """
CREATE TABLE idempotency_keys (
    seller_id bigint NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    export_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (seller_id, key)
)
"""


def upgrade() -> None:
    """Create both tables and their indexes."""
    op.execute(EXPORTS)
    for index in INDEXES:
        op.execute(index)
    op.execute(IDEMPOTENCY_KEYS)
    op.execute("CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at)")


def downgrade() -> None:
    """Drop both tables: every record of an export is lost."""
    op.execute("DROP TABLE idempotency_keys")
    op.execute("DROP TABLE exports")
