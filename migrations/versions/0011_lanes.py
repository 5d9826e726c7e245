"""Lanes: where an export waits, and when it is its turn there.

Locks ``exports`` while the index is built and one constraint is checked: well
under a second for a month of exports. No row is rewritten but large ones that wait.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UP = (
    """
    ALTER TABLE exports
    ADD COLUMN lane text NOT NULL DEFAULT 'small',
    ADD COLUMN turn_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT exports_lane_check CHECK (lane IN ('small', 'large'))
    """,
    "ALTER TABLE exports ALTER COLUMN turn_at SET DEFAULT clock_timestamp()",
    """
    UPDATE exports
    SET lane = 'large'
    WHERE status IN ('queued', 'running') AND rows_estimated > 100000
    """,
    "CREATE INDEX exports_turn_idx ON exports (lane, turn_at) WHERE status = 'queued'",
)


def upgrade() -> None:
    """Add both columns and the index that the next export is found by."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them: exports wait in the order of their bells again."""
    op.execute("ALTER TABLE exports DROP COLUMN lane, DROP COLUMN turn_at")
