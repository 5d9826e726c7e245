"""Rows written one by one, as by logical replication, no longer read the rule of unusual addresses.

Before PostgreSQL declines to inline a function it reads its body, here 30 KB, once for each
statement, and logical replication applies each row like one. A function with a setting is not
read before it is called. Changes a function: locks nothing.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FUNCTION = "public.audience_unusual_address(text)"


def upgrade() -> None:
    """Give the function a setting that changes nothing: it names built-in functions only."""
    op.execute(f"ALTER FUNCTION {FUNCTION} SET search_path = pg_catalog")


def downgrade() -> None:
    """Take the setting away again."""
    op.execute(f"ALTER FUNCTION {FUNCTION} RESET search_path")
