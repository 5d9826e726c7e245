"""Makes time pass for rows: what ended two minutes ago becomes 100 days old.

So it is due to be deleted by the service's own periodic tasks, which retain rows for 24 hours to
90 days.
"""

from app.database.connections import Connection

AGE = "interval '2 minutes'"
PASSED = "interval '100 days'"

IS_DUE = f"BETWEEN clock_timestamp() - interval '50 days' AND clock_timestamp() - {AGE}"

# The audit's trigger refuses changes, and lets the worker delete what is old.
UNLOCK_AUDIT = "ALTER TABLE export_audit DISABLE TRIGGER export_audit_keep_rows"

AGE_EXPORTS = f"""
    UPDATE exports
    SET created_at = created_at - {PASSED},
        finished_at = finished_at - {PASSED},
        expires_at = expires_at - {PASSED}
    WHERE status NOT IN ('queued', 'running', 'succeeded')
        AND greatest(finished_at, expires_at) {IS_DUE}
"""

COLUMNS = {
    "idempotency_keys": "created_at",
    "list_notices": "created_at",
    "webhook_deliveries": "created_at",
    "source_keys": "deleted_at",
    "export_audit": "at",
}
"""The column of each other table that decides how old a row is."""

AGE_OTHERS = [
    f"UPDATE {table} SET {column} = {column} - {PASSED} WHERE {column} {IS_DUE}"
    for table, column in COLUMNS.items()
]


async def age_rows(connection: Connection) -> None:
    """Let 100 days pass for the rows that ended two minutes ago."""
    for statement in (AGE_EXPORTS, *AGE_OTHERS):
        await connection.execute(statement)
