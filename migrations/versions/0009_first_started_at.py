"""When the first attempt of an export began, from which the bound of all its attempts counts.

Stops writers of `exports` for an instant: locks it to add a column without a default, so that no
row is written.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; exports under way get it from their next claim."""
    op.execute("ALTER TABLE exports ADD COLUMN first_started_at timestamptz")


def downgrade() -> None:
    """Drop the column; nothing bounds how often an export is handed back."""
    op.execute("ALTER TABLE exports DROP COLUMN first_started_at")
