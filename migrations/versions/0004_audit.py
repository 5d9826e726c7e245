"""The audit of exports: append-only, enforced by a trigger.

Creates new objects only, so it locks no table in use.

The service's role owns the table, and an owner can grant itself any right that was
revoked. So a trigger refuses changes: for the owner and superusers too, and with any
``session_replication_role``. Only DDL gets past it, which PostgreSQL can log
(``log_statement = ddl``).
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE export_audit (
    seller_id bigint NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    export_id uuid NOT NULL,
    action text NOT NULL,
    actor text,
    recipient_email text,
    client_address text,
    user_agent text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    details jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT export_audit_pkey PRIMARY KEY (seller_id, id),
    CONSTRAINT export_audit_action_check CHECK (
        action IN (
            'requested', 'coalesced', 'downloaded', 'link_followed', 'url_issued',
            'resent', 'retried', 'cancelled', 'erased',
            'expired', 'exported_locally'
        )
    )
)
"""

INDEXES = (
    "CREATE INDEX export_audit_export_idx ON export_audit (export_id, id)",
    """
    CREATE INDEX export_audit_client_idx ON export_audit (at)
    WHERE client_address IS NOT NULL OR user_agent IS NOT NULL
    """,
    "CREATE INDEX export_audit_at_idx ON export_audit (at)",
)

FUNCTION = """
CREATE FUNCTION export_audit_refuse() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    cut record;
    retention_days integer := nullif(
        current_setting('audience_export.audit_retention_days', true), ''
    )::integer;
BEGIN
    IF TG_OP = 'DELETE' AND retention_days >= 1
        AND OLD.at < clock_timestamp() - make_interval(days => retention_days)
    THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        cut := OLD;
        cut.client_address := NULL;
        cut.user_agent := NULL;
        IF NEW IS NOT DISTINCT FROM cut
            AND OLD.at < clock_timestamp() - interval '90 days'
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE insufficient_privilege
        USING MESSAGE = 'export_audit is append-only: ' || TG_OP || ' refused';
END
$$
"""

TRIGGERS = (
    """
    CREATE TRIGGER export_audit_keep_rows BEFORE UPDATE OR DELETE ON export_audit
    FOR EACH ROW EXECUTE FUNCTION export_audit_refuse()
    """,
    """
    CREATE TRIGGER export_audit_keep_all BEFORE TRUNCATE ON export_audit
    FOR EACH STATEMENT EXECUTE FUNCTION export_audit_refuse()
    """,
    "ALTER TABLE export_audit ENABLE ALWAYS TRIGGER export_audit_keep_rows",
    "ALTER TABLE export_audit ENABLE ALWAYS TRIGGER export_audit_keep_all",
)


def upgrade() -> None:
    """Create the table and its triggers."""
    for statement in (TABLE, *INDEXES, FUNCTION, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop the table; the record of who received which list is lost."""
    op.execute("DROP TABLE export_audit")
    op.execute("DROP FUNCTION export_audit_refuse()")
