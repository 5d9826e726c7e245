"""The counts beside the dialog's checkboxes."""

from app.audience.counts import AudienceCounts, count_audience
from app.database.connections import Connection
from app.database.database import open_database
from tests.audience.storefront import Storefront


async def counted(url: str, seller_id: int) -> AudienceCounts:
    """Count as the API does."""
    async with open_database(url, pool_size=1) as database:
        return await count_audience(database, seller_id)


async def test_members_are_counted_by_source_and_once_in_all(
    storefront: Storefront, database_url: str
) -> None:
    await storefront.follow("both@x.co")
    await storefront.buy("both@x.co")
    await storefront.buy("buyer@x.co")
    await storefront.buy("elsewhere@x.co", seller_id=2)
    assert await counted(database_url, 1) == AudienceCounts(
        by_source={"follower": 1, "customer": 2, "affiliate": 0}, total=2
    )


async def test_a_seller_without_an_audience_counts_zero(database_url: str) -> None:
    assert await counted(database_url, 9) == AudienceCounts(
        by_source={"follower": 0, "customer": 0, "affiliate": 0}, total=0
    )


async def test_counting_reads_the_index_alone(
    storefront: Storefront, connection: Connection
) -> None:
    await storefront.follow("a@x.co")
    await connection.execute("VACUUM ANALYZE audience_members")
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    plan = await connection.fetch(
        "EXPLAIN SELECT count(*), count(follower_since), count(customer_since),"
        " count(affiliate_since) FROM audience_members WHERE seller_id = 1"
    )
    assert any("Index Only Scan using audience_members_pkey" in row[0] for row in plan)
