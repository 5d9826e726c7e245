"""The storefront's own keys of source rows.

A new table only: locks nothing that is in use.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE source_keys (
    seller_id bigint NOT NULL,
    source text NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint,
    row_id bigint,
    deleted_at timestamptz,
    CONSTRAINT source_keys_pkey PRIMARY KEY (seller_id, source, key),
    CONSTRAINT source_keys_row_check CHECK ((row_id IS NULL) = (deleted_at IS NOT NULL))
)
"""

INDEX = """
CREATE INDEX source_keys_deleted_idx ON source_keys (deleted_at)
WHERE deleted_at IS NOT NULL
"""


def upgrade() -> None:
    """Create the table and the index of what may be forgotten."""
    op.execute(TABLE)
    op.execute(INDEX)


def downgrade() -> None:
    """Drop the table: no row can be found by its storefront's key any more."""
    op.execute("DROP TABLE source_keys")
