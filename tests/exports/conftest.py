"""The use cases on real servers: a database, a bucket and Redis keys of the test's own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection, connect, create_engine
from app.exports.requests import ExportRequest
from tests.audience.storefront import Storefront

RequestMaker = Callable[..., ExportRequest]

REQUEST = ExportRequest(
    seller_id=1,
    recipient_email="seller1@example.com",
    sources=("follower",),
    columns=("email", "subscribed_at"),
    spreadsheet_safe=True,
    bom=False,
    requested_by="tests",
)


@pytest.fixture
def settings(service_environment: dict[str, str]) -> Settings:
    """The service's settings for this test's own servers."""
    values = {name.lower(): value for name, value in service_environment.items() if value}
    return Settings.model_validate(values)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine on the test's own database."""
    engine = create_engine(settings.database_url, pool_size=20)
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """One connection to the test's own database."""
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def storefront(connection: Connection) -> Storefront:
    """A storefront without any people yet."""
    return Storefront(connection)


def wish(**changes: Any) -> ExportRequest:
    """Return a request of seller 1 for followers, with changes."""
    return replace(REQUEST, **changes)
