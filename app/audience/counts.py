"""How many people a seller's audience has, by source and in all."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.audience.sources import SOURCES
from app.audience.tables import audience_members
from app.database import transaction


@dataclass(frozen=True)
class Counts:
    """Members of each source by its key, in the registry's order, and of any."""

    by_source: dict[str, int]
    total: int


async def count_on(engine: AsyncEngine, seller_id: int) -> Counts:
    """Count a seller's audience on one server, see :func:`count_members`.

    Raises:
        DatabaseUnavailable, SourceBusy: trying again may help.
    """
    async with transaction(engine) as connection:
        return await count_members(connection, seller_id)


async def count_members(connection: AsyncConnection, seller_id: int) -> Counts:
    """Count a seller's audience in one index-only scan; all zero for an unknown seller."""
    columns = [func.count(audience_members.c[source.since]) for source in SOURCES]
    query = select(func.count(), *columns).where(audience_members.c.seller_id == seller_id)
    total, *numbers = (await connection.execute(query)).one()
    return Counts(dict(zip((source.key for source in SOURCES), numbers, strict=True)), total)
