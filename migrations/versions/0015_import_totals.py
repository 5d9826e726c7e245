"""How many rows imports have written and refused, for Prometheus.

A new table only: locks nothing that is in use.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute("""
        CREATE TABLE import_totals (
            outcome text NOT NULL,
            rows bigint NOT NULL,
            CONSTRAINT import_totals_pkey PRIMARY KEY (outcome)
        )
    """)


def downgrade() -> None:
    """Drop the table: counting begins anew."""
    op.execute("DROP TABLE import_totals")
