"""How many rows an export will have, cheaply: exact when small, planned when large."""

from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import Merge
from app.statements import Statement

EXACT_ROWS = 10_000
"""Up to this many members are counted, about a millisecond from the index."""

COUNT = """
    SELECT count(*) AS members
    FROM (
        SELECT
        FROM audience_members
        WHERE seller_id = :seller_id AND ({selected})
        LIMIT :limit
    ) AS counted
"""

PLAN = """
    EXPLAIN (FORMAT JSON)
    SELECT
    FROM audience_members
    WHERE seller_id = :seller_id AND ({selected})
"""


async def estimate_rows(engine: AsyncEngine, merge: Merge) -> int:
    """Return the expected number of rows, for the progress bar and the lane.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    selected = " OR ".join(f"{source.since} IS NOT NULL" for source in merge.chosen)
    count = Statement(COUNT.format(selected=selected))
    counted = await count.row(engine, seller_id=merge.seller_id, limit=EXACT_ROWS + 1)
    if counted is not None and counted["members"] <= EXACT_ROWS:
        return int(counted["members"])
    plan = Statement(PLAN.format(selected=selected))
    explained = await plan.row(engine, seller_id=merge.seller_id)
    planned = explained[0][0]["Plan"]["Plan Rows"] if explained else 0
    return max(EXACT_ROWS + 1, int(planned))
