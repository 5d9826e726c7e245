"""A distributed audience: tests of other folders that are imported here run on three nodes."""

import asyncio

import pytest

from app.audience.distribution import Distribution, distribute
from app.database.database import open_connection
from devstack import settings as stack_settings
from devstack.citus import CitusCluster
from devstack.migrate import migrate
from tests.audience.conftest import connection, storefront

__all__ = ["connection", "storefront"]

NAME = "distributed"

EMPTY = """
    SET lock_timeout = '10s';
    TRUNCATE followers, purchases, affiliates RESTART IDENTITY;
    TRUNCATE audience_members, source_keys
"""


async def distributed(url: str) -> Distribution:
    """Distribute the audience of the database at ``url``."""
    async with open_connection(url, command_timeout_s=60) as connection:
        return await distribute(connection)


@pytest.fixture(scope="session")
def distributed_url(citus: CitusCluster) -> str:
    """The coordinator's URL of a migrated database whose audience is distributed."""
    url = citus.create_database(NAME)
    migrate(stack_settings.service_settings() | {"DATABASE_URL": url})
    asyncio.run(distributed(url))
    return url


@pytest.fixture
def database_url(citus: CitusCluster, distributed_url: str) -> str:
    """The URL of the distributed database, whose tables are empty."""
    citus.coordinator.execute(EMPTY, NAME)
    return distributed_url
