"""How many rows an export will have, cheaply: exact when small, planned when large."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audience.merge import Merge

EXACT_ROWS = 10_000
"""Up to this many members are counted, about a millisecond from the index."""


async def estimate_rows(connection: AsyncConnection, merge: Merge) -> int:
    """Return the expected number of rows, for the progress bar and the lane."""
    members = f"""
        SELECT 1
        FROM audience_members
        WHERE seller_id = {merge.seller_id:d}
        AND ({" OR ".join(f"{source.since} IS NOT NULL" for source in merge.chosen)})
    """  # noqa: S608 - columns come from the registry, the seller is a number
    counted = await connection.scalar(
        text(f"SELECT count(*) FROM ({members} LIMIT {EXACT_ROWS + 1}) AS counted")  # noqa: S608
    )
    if counted is not None and counted <= EXACT_ROWS:
        return int(counted)
    plan = await connection.scalar(text(f"EXPLAIN (FORMAT JSON) {members}"))
    return max(EXACT_ROWS + 1, int(plan[0]["Plan"]["Plan Rows"])) if plan else EXACT_ROWS + 1
