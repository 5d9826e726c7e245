"""Webhooks: who is told of an export's end, and what is still to be told.

Locks ``exports`` for the moment of adding a column that may be null and a trigger.

The trigger writes what is due in the statement that ends an export, whichever
that is: no way to an end can forget it.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ENDPOINTS = """
CREATE TABLE webhook_endpoints (
    service text NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    old_secret text,
    old_secret_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (service)
)
"""

DELIVERIES = """
CREATE TABLE webhook_deliveries (
    seller_id bigint NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    export_id uuid NOT NULL,
    service text NOT NULL,
    body text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    last_error text,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (seller_id, id),
    CONSTRAINT webhook_deliveries_status_check CHECK (
        status IN ('pending', 'delivered', 'failed')
    )
)
"""

INDEXES = (
    """
    CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (due_at)
    WHERE status = 'pending'
    """,
    "CREATE INDEX webhook_deliveries_created_idx ON webhook_deliveries (created_at)",
)

FUNCTION = """
CREATE FUNCTION export_webhook_due() RETURNS trigger
LANGUAGE plpgsql
SET timezone = 'UTC'
AS $$
BEGIN
    INSERT INTO public.webhook_deliveries (seller_id, export_id, service, body)
    SELECT
        NEW.seller_id,
        NEW.id,
        NEW.service,
        json_build_object(
            'type', 'export.' || NEW.status,
            'timestamp', to_json(NEW.finished_at),
            'data', json_build_object(
                'id', NEW.id,
                'seller_id', NEW.seller_id,
                'status', NEW.status,
                'sources', NEW.sources,
                'file', CASE WHEN NEW.status = 'succeeded' THEN json_build_object(
                    'name', NEW.file_name, 'rows', NEW.file_rows, 'bytes', NEW.file_bytes
                ) END,
                'error', CASE WHEN NEW.status = 'failed' THEN json_build_object(
                    'code', NEW.error_code, 'detail', NEW.error_detail
                ) END,
                'created_at', NEW.created_at,
                'finished_at', NEW.finished_at
            )
        )::text
    FROM public.webhook_endpoints
    WHERE service = NEW.service AND disabled_at IS NULL;
    RETURN NULL;
END
$$
"""

TRIGGER = """
CREATE TRIGGER export_webhook_due AFTER UPDATE ON exports
FOR EACH ROW WHEN (
    NEW.service IS NOT NULL
    AND OLD.status IN ('queued', 'running')
    AND NEW.status IN ('succeeded', 'failed', 'cancelled')
)
EXECUTE FUNCTION export_webhook_due()
"""


def upgrade() -> None:
    """Create both tables, and what fills the second."""
    op.execute("ALTER TABLE exports ADD COLUMN service text")
    for statement in (ENDPOINTS, DELIVERIES, *INDEXES, FUNCTION.replace(":", r"\:"), TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    """Drop them: what was not told yet is not told any more."""
    op.execute("DROP TRIGGER export_webhook_due ON exports")
    op.execute("DROP FUNCTION export_webhook_due()")
    op.execute("DROP TABLE webhook_deliveries")
    op.execute("DROP TABLE webhook_endpoints")
    op.execute("ALTER TABLE exports DROP COLUMN service")
