"""Inserts that arrive by logical replication are projected without reading their source.

Replaces functions only: locks nothing.
"""

from alembic import op
from sqlalchemy import text

from app.audience import projection
from app.audience.sources import SOURCES

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the functions."""
    for source in SOURCES:
        for statement in projection.functions(source):
            op.execute(text(statement.replace(":", r"\:")))


def downgrade() -> None:
    """Leave them: they keep the same table true."""
