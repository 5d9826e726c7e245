"""Which request asked for an export, for logs and traces.

Locks ``exports`` for a moment: columns that may be null are added without a
look at any row. Workers and APIs of the version before do not mind them.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute("""
        ALTER TABLE exports
        ADD COLUMN request_id varchar(128),
        ADD COLUMN traceparent varchar(55)
    """)


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE exports DROP COLUMN request_id, DROP COLUMN traceparent")
