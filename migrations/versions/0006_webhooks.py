"""Webhooks: the endpoints, and an outbox of deliveries.

Stops writers of `exports` for an instant: locks it to create triggers.

The trigger adds a delivery in the statement that ends an export, so no code path
can end an export without one.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
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
    all_exports boolean NOT NULL DEFAULT false,
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
    CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (service, due_at)
    WHERE status = 'pending'
    """,
    "CREATE INDEX webhook_deliveries_created_idx ON webhook_deliveries (created_at)",
)

# With the rights of its owner: an export must not fail where the service's role may not write here.
FUNCTION = """
CREATE FUNCTION export_webhook_due() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog
SET timezone = 'UTC'
AS $$
BEGIN
    INSERT INTO public.webhook_deliveries (seller_id, export_id, service, body)
    SELECT
        NEW.seller_id,
        NEW.id,
        service,
        json_build_object(
            'type', 'export.' || CASE TG_OP WHEN 'INSERT' THEN 'requested' ELSE NEW.status END,
            'timestamp', to_json(coalesce(NEW.finished_at, NEW.created_at)),
            'data', json_build_object(
                'id', NEW.id,
                'seller_id', NEW.seller_id,
                'status', NEW.status,
                'sources', NEW.sources,
                'file', CASE WHEN NEW.status = 'succeeded' THEN json_build_object(
                    'name', NEW.file_name, 'rows', NEW.file_rows, 'bytes', NEW.file_bytes,
                    'checksum', NEW.file_checksum
                ) END,
                'error', CASE WHEN NEW.status = 'failed' THEN json_build_object(
                    'code', NEW.error_code, 'detail', NEW.error_detail
                ) END,
                'created_at', NEW.created_at,
                'finished_at', NEW.finished_at
            )
        )::text
    FROM public.webhook_endpoints
    WHERE (all_exports OR service = NEW.service AND TG_OP = 'UPDATE') AND disabled_at IS NULL;
    RETURN NULL;
END
$$
"""

TRIGGERS = (
    """
    CREATE TRIGGER export_webhook_due AFTER UPDATE ON exports
    FOR EACH ROW WHEN (
        OLD.status IN ('queued', 'running') AND NEW.status IN ('succeeded', 'failed', 'cancelled')
    )
    EXECUTE FUNCTION export_webhook_due()
    """,
    """
    CREATE TRIGGER export_webhook_requested AFTER INSERT ON exports
    FOR EACH ROW EXECUTE FUNCTION export_webhook_due()
    """,
)


def upgrade() -> None:
    """Create both tables, and the triggers that fill the second."""
    for statement in (ENDPOINTS, DELIVERIES, *INDEXES, FUNCTION, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them; pending deliveries are lost."""
    op.execute("DROP TRIGGER export_webhook_requested ON exports")
    op.execute("DROP TRIGGER export_webhook_due ON exports")
    op.execute("DROP FUNCTION export_webhook_due()")
    op.execute("DROP TABLE webhook_deliveries")
    op.execute("DROP TABLE webhook_endpoints")
