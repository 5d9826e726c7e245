"""A new kind of audience is one entry like those of the registry, and one call."""

import pytest

from app.audience import projection
from app.audience.sources import Source
from app.database.connections import Connection
from tests.audience.storefront import CUT, DAY, SELLER, Storefront

SUBSCRIBER = Source(
    key="subscriber",
    label="Subscribers",
    table="newsletter_subscriptions",
    eligible="ended_at IS NULL",
)

INSERT = "INSERT INTO newsletter_subscriptions (seller_id, email, created_at) VALUES (1, $1, $2)"


@pytest.fixture
async def with_subscribers(connection: Connection) -> None:
    """A fourth source, on a table that has rows already, in a database with members."""
    await connection.execute(
        """
        CREATE TABLE newsletter_subscriptions (
            id bigint GENERATED ALWAYS AS IDENTITY,
            seller_id bigint NOT NULL,
            email text,
            created_at timestamptz NOT NULL,
            ended_at timestamptz,
            PRIMARY KEY (seller_id, id)
        )
        """
    )
    for email in ("Old@x.co", "both@x.co", "invalid"):
        await connection.execute(INSERT, email, DAY)
    await Storefront(connection).follow("both@x.co")
    async with connection.transaction():
        for statement in projection.install(SUBSCRIBER):
            await connection.execute(statement)


@pytest.mark.usefixtures("with_subscribers")
class TestSubscribers:
    """With the fourth source installed."""

    async def test_rows_that_were_there_are_members(self, storefront: Storefront) -> None:
        assert await storefront.members() == {
            (SELLER, "both@x.co"): {"follower": CUT, "subscriber": CUT},
            (SELLER, "old@x.co"): {"subscriber": CUT},
        }

    async def test_new_rows_are_projected(self, storefront: Storefront) -> None:
        await storefront.connection.execute(INSERT, "new@x.co", DAY)
        await storefront.connection.execute(
            "UPDATE newsletter_subscriptions SET ended_at = now() WHERE email = 'Old@x.co'"
        )
        await storefront.connection.execute(
            "DELETE FROM newsletter_subscriptions WHERE email = 'both@x.co'"
        )
        assert await storefront.members() == {
            (SELLER, "both@x.co"): {"follower": CUT},
            (SELLER, "new@x.co"): {"subscriber": CUT},
        }

    async def test_another_source_leaves_its_members_alone(self, storefront: Storefront) -> None:
        await storefront.connection.execute("DELETE FROM followers")
        assert await storefront.addresses() == ["both@x.co", "old@x.co"]

    async def test_its_date_is_in_the_covering_index(self, connection: Connection) -> None:
        index = await connection.fetchval(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'audience_members_pkey'"
        )
        assert "(follower_since, customer_since, affiliate_since, subscriber_since)" in index

    async def test_removing_it_leaves_the_members_of_the_others(
        self, storefront: Storefront
    ) -> None:
        for statement in projection.remove(SUBSCRIBER):
            await storefront.connection.execute(statement)
        assert await storefront.members() == {(SELLER, "both@x.co"): {"follower": CUT}}
        await storefront.connection.execute("DELETE FROM followers")
        assert await storefront.members() == {}
