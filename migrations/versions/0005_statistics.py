"""Statistics of exports whose rows were deleted: by day, by seller and day, by duration.

Creates new tables only, so it locks no table in use.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = {
    "export_days": """
        day date NOT NULL,
        sources text NOT NULL,
        outcome text NOT NULL,
        error_code text NOT NULL,
        exports bigint NOT NULL,
        rows bigint NOT NULL,
        bytes bigint NOT NULL,
        CONSTRAINT export_days_pkey PRIMARY KEY (day, sources, outcome, error_code)
    """,
    "export_seller_days": """
        seller_id bigint NOT NULL,
        day date NOT NULL,
        requested bigint NOT NULL,
        succeeded bigint NOT NULL,
        failed bigint NOT NULL,
        rows bigint NOT NULL,
        CONSTRAINT export_seller_days_pkey PRIMARY KEY (seller_id, day)
    """,
    "export_durations": """
        day date NOT NULL,
        measure text NOT NULL,
        bucket integer NOT NULL,
        exports bigint NOT NULL,
        seconds double precision NOT NULL,
        CONSTRAINT export_durations_pkey PRIMARY KEY (day, measure, bucket)
    """,
}


def upgrade() -> None:
    """Create the tables."""
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns})")
    op.execute("CREATE INDEX export_seller_days_day_idx ON export_seller_days (day)")


def downgrade() -> None:
    """Drop the tables; the statistics of deleted exports are lost."""
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
