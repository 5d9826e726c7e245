"""Workers: which of them did a periodic task last.

Creates a new table only, so it locks no table in use.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PERIODIC_TASKS = """
CREATE TABLE periodic_tasks (
    name text NOT NULL,
    worker text,
    started_at timestamptz,
    finished_at timestamptz,
    due_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT periodic_tasks_pkey PRIMARY KEY (name)
)
"""


def upgrade() -> None:
    """Create the table; workers add a row for each task."""
    op.execute(PERIODIC_TASKS)


def downgrade() -> None:
    """Drop the table; workers of this version stop their periodic tasks without it."""
    op.execute("DROP TABLE periodic_tasks")
