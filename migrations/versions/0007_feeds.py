"""Feeds: the storefront's keys of source rows, and counters of imported rows.

Creates new tables only, so it locks no table in use.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SOURCE_KEYS = """
CREATE TABLE source_keys (
    seller_id bigint NOT NULL,
    source text NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint,
    row_id text,
    deleted_at timestamptz,
    CONSTRAINT source_keys_pkey PRIMARY KEY (seller_id, source, key),
    CONSTRAINT source_keys_row_check CHECK ((row_id IS NULL) = (deleted_at IS NOT NULL))
)
"""

DELETED = """
CREATE INDEX source_keys_deleted_idx ON source_keys (deleted_at)
WHERE deleted_at IS NOT NULL
"""


IMPORT_TOTALS = """
CREATE TABLE import_totals (
    outcome text NOT NULL,
    rows bigint NOT NULL,
    CONSTRAINT import_totals_pkey PRIMARY KEY (outcome)
)
"""


def upgrade() -> None:
    """Create both tables, and an index of the tombstones for their cleanup."""
    for statement in (SOURCE_KEYS, DELETED, IMPORT_TOTALS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them; rows can no longer be updated by the storefront's keys."""
    op.execute("DROP TABLE import_totals")
    op.execute("DROP TABLE source_keys")
