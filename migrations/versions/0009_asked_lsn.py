"""How far the primary's log had come when an export was asked for.

Locks ``exports`` for a moment: a column without a value for the rows there are.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; exports asked for from now on have a value."""
    op.execute("ALTER TABLE exports ADD COLUMN asked_lsn bigint")
    op.execute("""
        ALTER TABLE exports
        ALTER COLUMN asked_lsn
        SET DEFAULT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'::pg_lsn)
    """)


def downgrade() -> None:
    """Drop the column."""
    op.execute("ALTER TABLE exports DROP COLUMN asked_lsn")
