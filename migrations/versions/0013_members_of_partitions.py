"""The triggers find members again where audience_members is partitioned, too.

Replaces functions only: locks nothing.
"""

from alembic import op
from sqlalchemy import text

from app.audience import projection
from app.audience.sources import SOURCES

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the functions."""
    for source in SOURCES:
        for statement in projection.functions(source):
            op.execute(text(statement.replace(":", r"\:")))


def downgrade() -> None:
    """Leave them: they do the same on a table that is whole."""
