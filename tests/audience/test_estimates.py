"""Estimates: from the audience's server, else from the primary, else none, and soon."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience import estimates
from app.audience.estimates import estimate_in_time
from app.audience.merge import DEFAULT_COLUMNS, Merge
from app.config import Settings
from app.exports.requests import request_export
from tests.audience.storefront import Storefront
from tests.exports.conftest import database_proxy, engine, far_engine, settings, wish
from tests.proxy import Close, Hang, Proxy

__all__ = ["database_proxy", "engine", "far_engine", "settings"]

FOLLOWERS = Merge(1, ("follower",), DEFAULT_COLUMNS)


async def test_an_unreachable_replica_refuses_no_export(
    far_engine: AsyncEngine,
    database_proxy: Proxy,
    engine: AsyncEngine,
    settings: Settings,
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co")
    await database_proxy.stop()
    asked = await request_export(engine, far_engine, settings, wish(), None)
    assert (asked.export.rows_estimated, asked.export.lane) == (1, "small")


async def test_a_hanging_replica_is_not_waited_for(
    far_engine: AsyncEngine,
    database_proxy: Proxy,
    engine: AsyncEngine,
    storefront: Storefront,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await storefront.follow("ann@x.co")
    assert await estimate_in_time(far_engine, engine, FOLLOWERS) == 1
    hang = database_proxy.fault(Hang(), times=None)
    monkeypatch.setattr(estimates, "PATIENCE_S", 0.5)
    assert await estimate_in_time(far_engine, engine, FOLLOWERS) in (1, None)
    assert hang.struck


async def test_what_nobody_can_estimate_is_unknown(
    far_engine: AsyncEngine, database_proxy: Proxy, engine: AsyncEngine
) -> None:
    database_proxy.fault(Close(), times=None)
    assert await estimate_in_time(far_engine, far_engine, FOLLOWERS) is None
    assert await estimate_in_time(far_engine, engine, FOLLOWERS) is None  # it knows of nobody
    assert await estimate_in_time(engine, engine, FOLLOWERS) == 0
