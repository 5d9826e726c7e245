"""Claims that stay quick while a long snapshot keeps vacuum back, and an eager vacuum of exports.

Creates a new table, and locks ``exports`` for an instant, against other changes of its schema only.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

QUEUE_STARTS = """
CREATE TABLE queue_starts (
    queue text NOT NULL,
    starts_at timestamptz,
    CONSTRAINT queue_starts_pkey PRIMARY KEY (queue)
)
"""

# Each export is updated half a dozen times in seconds, and is one row in hundreds of thousands:
# the default, a fifth of the table, would leave the dead entries of a day in the queue's index.
# Applied to every partition, in case the printed SQL was edited to partition the table.
VACUUM = """
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        WITH RECURSIVE parts AS (
            SELECT 'exports'::regclass::oid AS oid
            UNION ALL
            SELECT inhrelid FROM parts JOIN pg_inherits ON inhparent = parts.oid
        )
        SELECT oid FROM parts JOIN pg_class USING (oid) WHERE relkind = 'r'
    LOOP
        EXECUTE 'ALTER TABLE ' || part || ' {change}';
    END LOOP;
END
$$
"""

EAGER = """SET (
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.005,
    autovacuum_analyze_scale_factor = 0.02
)"""

AS_BEFORE = """RESET (
    autovacuum_vacuum_threshold,
    autovacuum_vacuum_scale_factor,
    autovacuum_analyze_scale_factor
)"""


def upgrade() -> None:
    """Create the table, which one worker of the fleet fills, and tune autovacuum."""
    op.execute(QUEUE_STARTS)
    op.execute(VACUUM.replace("{change}", EAGER))


def downgrade() -> None:
    """Drop the table; workers of this version stop without it."""
    op.execute(VACUUM.replace("{change}", AS_BEFORE))
    op.execute("DROP TABLE queue_starts")
