"""Exports, idempotency keys and notices of large lists.

Creates new tables only, so it locks no table in use.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
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
    format text NOT NULL DEFAULT 'csv',
    delimiter text NOT NULL DEFAULT ',',
    locale text NOT NULL DEFAULT 'en',
    timezone text NOT NULL DEFAULT 'UTC',
    joined_after timestamptz,
    joined_before timestamptz,
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
    file_checksum text,
    file_refused_addresses bigint,
    error_code text,
    error_detail text,
    email_status text,
    email_due_at timestamptz,
    email_attempts integer NOT NULL DEFAULT 0,
    email_sequence integer NOT NULL DEFAULT 0,
    email_sent_at timestamptz,
    email_unanswered integer NOT NULL DEFAULT 0,
    email_error text,
    email_resent_at timestamptz[] NOT NULL DEFAULT '{}',
    download_count bigint NOT NULL DEFAULT 0,
    downloaded_at timestamptz,
    retried_at timestamptz,
    deletion_requested_at timestamptz,
    uncleaned_attempts integer[] NOT NULL DEFAULT '{}',
    request_id varchar(128),
    traceparent varchar(55),
    required_lsn bigint DEFAULT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'::pg_lsn),
    lane text NOT NULL DEFAULT 'small',
    queue_order_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    service text,
    CONSTRAINT exports_pkey PRIMARY KEY (seller_id, id),
    CONSTRAINT exports_status_check CHECK (
        status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired', 'deleted')
    ),
    CONSTRAINT exports_format_check CHECK (format IN ('csv', 'xlsx')),
    CONSTRAINT exports_delimiter_check CHECK (delimiter IN (',', ';', E'\\t')),
    CONSTRAINT exports_lane_check CHECK (lane IN ('small', 'large')),
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
    "CREATE INDEX exports_queue_order_idx ON exports (lane, queue_order_at) "
    "WHERE status = 'queued'",
    "CREATE INDEX exports_status_idx ON exports (status, id)",
    """
    CREATE INDEX exports_email_due_idx ON exports (email_due_at)
    WHERE email_status = 'pending'
    """,
    "CREATE INDEX exports_expires_idx ON exports (expires_at, id) WHERE status = 'succeeded'",
    """
    CREATE INDEX exports_ended_idx ON exports (greatest(finished_at, expires_at))
    WHERE status NOT IN ('queued', 'running', 'succeeded') AND cardinality(uncleaned_attempts) = 0
    """,
    """
    CREATE INDEX exports_deletion_idx ON exports (deletion_requested_at)
    WHERE status = 'succeeded' AND deletion_requested_at IS NOT NULL
    """,
    "CREATE INDEX exports_uncleaned_attempts_idx ON exports (id) "
    "WHERE cardinality(uncleaned_attempts) > 0",
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

LIST_NOTICES = """
CREATE TABLE list_notices (
    seller_id bigint NOT NULL,
    export_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'pending',
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    unanswered integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    error text,
    CONSTRAINT list_notices_pkey PRIMARY KEY (seller_id, export_id),
    CONSTRAINT list_notices_status_check CHECK (status IN ('pending', 'sent', 'failed'))
)
"""


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.execute(EXPORTS)
    for index in INDEXES:
        op.execute(index)
    op.execute(IDEMPOTENCY_KEYS)
    op.execute("CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at)")
    op.execute(LIST_NOTICES)
    op.execute(
        "CREATE INDEX list_notices_due_idx ON list_notices (due_at) WHERE status = 'pending'"
    )
    op.execute("CREATE INDEX list_notices_created_idx ON list_notices (created_at)")


def downgrade() -> None:
    """Drop the tables; every export is lost."""
    op.execute("DROP TABLE list_notices")
    op.execute("DROP TABLE idempotency_keys")
    op.execute("DROP TABLE exports")
