"""The use cases on real servers: a database, a bucket and Redis keys of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection, connect, create_engine
from app.exports.exporter import Exporter
from app.exports.requests import ExportRequest, request_export
from app.exports.residue import Residue
from app.exports.sweep import Sweep
from app.models import EXPORT_COLUMNS, Export, exports
from tests.audience.storefront import Storefront
from tests.fakes import MemoryNews, MemoryQueue, MemoryStorage
from tests.proxy import Proxy, open_proxy

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
async def database_proxy(settings: Settings) -> AsyncIterator[Proxy]:
    """A bad network before the test's own database."""
    port = urlsplit(settings.database_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
async def far_engine(database_proxy: Proxy, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine behind the bad network."""
    own = urlsplit(settings.database_url)
    url = settings.database_url.replace(f":{own.port}/", f":{database_proxy.port}/")
    engine = create_engine(url, pool_size=5)
    async with engine.connect():
        pass  # SQLAlchemy has asked what it asks of a new server
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


@pytest.fixture
def storage() -> MemoryStorage:
    """A bucket in memory."""
    return MemoryStorage()


@pytest.fixture
def queue() -> MemoryQueue:
    """A bell in memory."""
    return MemoryQueue()


@pytest.fixture
def news() -> MemoryNews:
    """News in memory."""
    return MemoryNews()


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings under which leases, heartbeats and retries take moments."""
    return settings.model_copy(
        update={
            "lease_s": 0.5,
            "heartbeat_s": 0.05,
            "retry_for_s": 0,
            "retry_base_s": 0.001,
            "retry_max_s": 0.001,
            "stall_timeout_s": 0.4,
            "max_failures": 3,
            "record_timeout_s": 1,
        }
    )


@pytest.fixture
def exporter(
    engine: AsyncEngine,
    storage: MemoryStorage,
    queue: MemoryQueue,
    news: MemoryNews,
    quick: Settings,
) -> Exporter:
    """A worker's exporter with quick settings."""
    return Exporter(engine, engine, storage, queue, news, quick, worker="tests")


@pytest.fixture
def residue(engine: AsyncEngine, storage: MemoryStorage, quick: Settings) -> Residue:
    """What clears the bucket in memory."""
    return Residue(engine, engine, storage, quick)


@pytest.fixture
def sweep(
    engine: AsyncEngine,
    queue: MemoryQueue,
    news: MemoryNews,
    residue: Residue,
    quick: Settings,
) -> Sweep:
    """A worker's sweep with quick settings."""
    return Sweep(engine, queue, news, residue, quick)


@pytest.fixture
def ask(engine: AsyncEngine, settings: Settings) -> Callable[..., Awaitable[Export]]:
    """Ask for an export of seller 1; keyword arguments change the request."""

    async def ask(**changes: Any) -> Export:
        asked = await request_export(engine, engine, settings, wish(**changes), None)
        return asked.export

    return ask


async def reread(engine: AsyncEngine, export: Export) -> Export:
    """Return the export as it is now."""
    async with engine.connect() as connection:
        rows = await connection.execute(select(*EXPORT_COLUMNS).where(exports.c.id == export.id))
        return Export.of(rows.one())
