"""A worker's leases, and an export that it has claimed."""

from collections.abc import Awaitable, Callable

import pytest

from app.config import Settings
from app.database.database import Database
from app.exports.queue.leases import LeaseStore
from app.models import Export

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
def leases(database: Database, fast_settings: Settings) -> LeaseStore:
    """A worker's leases."""
    return LeaseStore(database, fast_settings, worker="tests")


@pytest.fixture
async def running(create_export: Ask, leases: LeaseStore) -> Export:
    """An export that the worker has claimed."""
    export = await create_export()
    claimed = await leases.claim(export.key)
    assert claimed is not None
    return claimed
