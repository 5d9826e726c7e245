"""Count a seller's audience, by source and in total."""

from dataclasses import dataclass

from app.audience.period import ALWAYS, Period
from app.audience.sources import SOURCES
from app.database.database import Queryable

COUNT = f"""
    SELECT count(*), {", ".join(f"count({source.since})" for source in SOURCES)}
    FROM audience_members
    WHERE seller_id = :seller_id
"""  # noqa: S608 - names come from the registry

# The conditions of the period are filled in.
COUNT_IN_PERIOD = """
    SELECT {counts}
    FROM audience_members
    WHERE seller_id = :seller_id
"""


@dataclass(frozen=True)
class AudienceCounts:
    """The number of members by source key, in the registry's order, and in total."""

    by_source: dict[str, int]
    total: int


async def count_audience(
    database: Queryable, seller_id: int, period: Period = ALWAYS
) -> AudienceCounts:
    """Count a seller's audience in one index-only scan; all zero for an unknown seller.

    With a ``period``, a source has those who joined it in the period, and the total those whose
    earliest date of all sources is in it: the rows of the exports of each source, and of all.

    Raises:
        DatabaseUnavailable, ReadConflict: trying again may help.
    """
    sql = COUNT if not period.is_bounded else COUNT_IN_PERIOD.format(counts=_counts(period))
    ((total, *numbers),) = await database.fetch(sql, seller_id=seller_id)
    return AudienceCounts(
        dict(zip((source.key for source in SOURCES), numbers, strict=True)), total
    )


def _counts(period: Period) -> str:
    dates = [source.since for source in SOURCES]
    conditions = map(period.condition, [f"LEAST({', '.join(dates)})", *dates])
    return ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
