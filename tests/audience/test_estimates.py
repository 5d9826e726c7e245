"""Estimates: from the audience's server, else from the primary, else none, and soon."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience import estimates
from app.audience.estimates import estimate_in_time
from app.audience.merge import DEFAULT_COLUMNS, Merge
from app.config import Settings
from app.database import create_engine
from app.exports.requests import request_export
from tests.audience.storefront import Storefront
from tests.exports.conftest import engine, settings, wish
from tests.proxy import Close, Hang, Proxy, open_proxy

__all__ = ["engine", "settings"]

FOLLOWERS = Merge(1, ("follower",), DEFAULT_COLUMNS)


@pytest.fixture
async def replica(settings: Settings) -> AsyncIterator[Proxy]:
    """A bad network before a server that stands for the replica."""
    port = urlsplit(settings.database_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
async def replica_engine(replica: Proxy, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine behind the bad network."""
    own = urlsplit(settings.database_url)
    url = settings.database_url.replace(f":{own.port}/", f":{replica.port}/")
    engine = create_engine(url, pool_size=2)
    yield engine
    await engine.dispose()


async def test_an_unreachable_replica_refuses_no_export(
    replica_engine: AsyncEngine,
    replica: Proxy,
    engine: AsyncEngine,
    settings: Settings,
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co")
    await replica.stop()
    asked = await request_export(engine, replica_engine, settings, wish(), None)
    assert (asked.export.rows_estimated, asked.export.lane) == (1, "small")


async def test_a_hanging_replica_is_not_waited_for(
    replica_engine: AsyncEngine,
    replica: Proxy,
    engine: AsyncEngine,
    storefront: Storefront,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await storefront.follow("ann@x.co")
    assert await estimate_in_time(replica_engine, engine, FOLLOWERS) == 1
    hang = replica.fault(Hang(), times=None)
    monkeypatch.setattr(estimates, "PATIENCE_S", 0.5)
    assert await estimate_in_time(replica_engine, engine, FOLLOWERS) in (1, None)
    assert hang.struck


async def test_what_nobody_can_estimate_is_unknown(
    replica_engine: AsyncEngine, replica: Proxy, engine: AsyncEngine
) -> None:
    replica.fault(Close(), times=None)
    assert await estimate_in_time(replica_engine, replica_engine, FOLLOWERS) is None
    assert await estimate_in_time(replica_engine, engine, FOLLOWERS) is None  # it knows of nobody
    assert await estimate_in_time(engine, engine, FOLLOWERS) == 0
