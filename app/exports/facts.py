"""What the database tells Prometheus about all exports."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import transaction
from app.metrics import Facts

ACTIVE = """
    SELECT
        count(*) FILTER (WHERE status = 'queued') AS queued,
        count(*) FILTER (WHERE status = 'running') AS running,
        greatest(0, extract(epoch FROM clock_timestamp() - min(due_at)
            FILTER (WHERE status = 'queued')))::float AS waiting_s,
        greatest(0, extract(epoch FROM clock_timestamp() - min(created_at)))::float AS active_s
    FROM exports
    WHERE status IN ('queued', 'running')
"""

VERIFIED = """
    SELECT drift_rows, extract(epoch FROM verified_at)::float AS verified_at
    FROM projection_verifications
    ORDER BY verified_at DESC
    LIMIT 1
"""


async def read_export_facts(engine: AsyncEngine) -> Facts:
    """Return how many exports wait and run, for how long, and what the last verify found.

    Reads an index of active exports, however many others there are.

    Raises:
        DatabaseUnavailable: try again.
    """
    async with transaction(engine) as connection:
        active = (await connection.execute(text(ACTIVE))).one()
        verified = (await connection.execute(text(VERIFIED))).one_or_none()
    facts: Facts = {
        "exports_active": {"queued": active.queued, "running": active.running},
        "oldest_waiting_seconds": active.waiting_s,
        "oldest_active_seconds": active.active_s,
    }
    if verified is None:
        return facts
    return {
        **facts,
        "projection_drift_rows": verified.drift_rows,
        "projection_verified_timestamp_seconds": verified.verified_at,
    }
