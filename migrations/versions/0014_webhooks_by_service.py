"""What is due is looked for service by service, so that none waits for another.

Locks ``webhook_deliveries`` for as long as it takes to index what is pending.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries ({columns})
WHERE status = 'pending'
"""


def upgrade() -> None:
    """Let the index of what is due begin with the service."""
    op.execute("DROP INDEX webhook_deliveries_due_idx")
    op.execute(INDEX.format(columns="service, due_at"))


def downgrade() -> None:
    """Index by time alone again."""
    op.execute("DROP INDEX webhook_deliveries_due_idx")
    op.execute(INDEX.format(columns="due_at"))
