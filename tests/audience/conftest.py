"""A storefront on its own database."""

from collections.abc import AsyncIterator

import pytest

from app.database.connections import Connection, connect
from tests.audience.storefront import Storefront


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """One connection to the test's own database."""
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def storefront(connection: Connection) -> Storefront:
    """A storefront without any customers yet."""
    return Storefront(connection)
