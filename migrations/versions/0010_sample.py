"""A sample of the members, one in 1024 by chance, in an index of its own.

It tells where a seller's list is to be cut into ranges of equal size. Locks
the writers of ``audience_members`` while it is read once: some 0.3 s a
million, measured.
"""

from alembic import op

from app.audience import projection

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.execute(projection.create_sample())


def downgrade() -> None:
    """Drop it; large exports then look for their ranges in the key, a third of a scan."""
    op.execute("DROP INDEX audience_members_sample_idx")
