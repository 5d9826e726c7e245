"""The audience that demo and benchmarks start from."""

from devstack.postgres import PostgresServer
from devstack.seed import seed


async def test_it_has_as_many_members_as_asked_from_every_source(
    postgres: PostgresServer, database_url: str
) -> None:
    await seed(database_url, seller_id=7, members=1000)

    counted = postgres.execute(
        """
        SELECT seller_id, count(*), count(follower_since), count(customer_since),
            count(affiliate_since)
        FROM audience_members
        GROUP BY seller_id
        """,
        database_url.rsplit("/", 1)[1],
    )
    assert counted == "7|1000|600|600|30"
