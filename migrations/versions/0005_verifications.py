"""What ``verify`` found and when, for whoever watches over the projection.

A new table only: locks nothing that is in use.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute("""
        CREATE TABLE projection_verifications (
            verified_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            drift_rows bigint NOT NULL,
            CONSTRAINT projection_verifications_pkey PRIMARY KEY (verified_at)
        )
    """)


def downgrade() -> None:
    """Drop the table: drift is unknown until the next ``verify``."""
    op.execute("DROP TABLE projection_verifications")
