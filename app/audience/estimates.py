"""How many rows an export will have, cheaply: exact when small, planned when large."""

import asyncio
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import Merge
from app.audience.standby import read_audience
from app.errors import DatabaseUnavailable, SourceBusy
from app.statements import Statement

log = structlog.get_logger()

EXACT_ROWS = 10_000
"""Up to this many members are counted, about a millisecond from the index."""

UNTOLD = (DatabaseUnavailable, SourceBusy, TimeoutError)

PATIENCE_S = 2.0
"""How long whoever asks for an export waits for a guess; asked of two servers, twice that."""

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


async def estimate_in_time(
    audience_engine: AsyncEngine, engine: AsyncEngine, merge: Merge
) -> int | None:
    """Return the expected number of rows, ``None`` where neither server tells in time.

    The primary is asked where the other cannot answer. If it says none there,
    it may be that its members are elsewhere (a coordinator's): nothing is known.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await read_audience(audience_engine, engine, partial(estimate_rows, merge=merge))
    except UNTOLD as error:
        log.warning("rows not estimated", server="audience", error=type(error).__name__)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await estimate_rows(engine, merge) or None
    except UNTOLD as error:
        log.warning("rows not estimated", server="primary", error=type(error).__name__)
        return None
