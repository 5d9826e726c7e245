"""The use cases, on real servers with a database, a bucket and a Redis database per test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.config import Settings
from app.database.connections import create_engine
from app.database.database import Database
from app.exports.cleanup.attempt_cleanup import AttemptCleaner, AttemptCleanup
from app.exports.execution.exporter import Exporter
from app.exports.queries import find_export
from app.exports.queue.recovery import QueueRecovery
from app.exports.submission.export_request import ExportRequest
from app.exports.submission.submit import submit_export
from app.models import FILE_OPTION_NAMES, Export, FileOptions
from app.ports import ExportEvents
from tests.audience.conftest import connection as connection
from tests.audience.conftest import storefront as storefront
from tests.fakes import MemoryExportEvents, MemoryQueue, MemoryStorage
from tests.proxy import Proxy, open_proxy

REQUEST = ExportRequest(
    seller_id=1,
    recipient_email="seller1@example.com",
    sources=("follower",),
    options=FileOptions(),
    requested_by="tests",
)


@pytest.fixture
def settings(service_environment: dict[str, str]) -> Settings:
    """The service's settings for this test's own servers."""
    values = {name.lower(): value for name, value in service_environment.items() if value}
    return Settings.model_validate(values)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The test's database."""
    database = Database(create_engine(settings.database_url, pool_size=20))
    yield database
    await database.close()


@pytest.fixture
async def database_proxy(settings: Settings) -> AsyncIterator[Proxy]:
    """A fault proxy in front of the test's database."""
    port = urlsplit(settings.database_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
async def database_via_proxy(database_proxy: Proxy, settings: Settings) -> AsyncIterator[Database]:
    """The test's database through the proxy."""
    own = urlsplit(settings.database_url)
    url = settings.database_url.replace(f":{own.port}/", f":{database_proxy.port}/")
    database = Database(create_engine(url, pool_size=5))
    async with database.engine.connect():
        pass  # SQLAlchemy has made its first queries to a new server
    yield database
    await database.close()


def make_request(**changes: Any) -> ExportRequest:
    """Return a request of seller 1 for followers, with changes, also of options."""
    names = changes.keys() & set(FILE_OPTION_NAMES)
    options = replace(REQUEST.options, **{name: changes.pop(name) for name in names})
    return replace(REQUEST, options=options, **changes)


@pytest.fixture
def storage() -> MemoryStorage:
    """A bucket in memory."""
    return MemoryStorage()


@pytest.fixture
def queue() -> MemoryQueue:
    """A queue in memory."""
    return MemoryQueue()


@pytest.fixture
def export_events() -> MemoryExportEvents:
    """Export events in memory."""
    return MemoryExportEvents()


@pytest.fixture
def fast_settings(settings: Settings) -> Settings:
    """Settings with very short leases, heartbeats and retry delays."""
    return settings.model_copy(
        update={
            "lease_s": 0.5,
            "heartbeat_s": 0.05,
            "retry_max_age_s": 0,
            "retry_base_s": 0.001,
            "retry_max_s": 0.001,
            "stall_timeout_s": 0.4,
            "max_failures": 3,
            "record_timeout_s": 1,
        }
    )


@pytest.fixture
def exporter(
    database: Database,
    storage: MemoryStorage,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    fast_settings: Settings,
) -> Exporter:
    """A worker's exporter with ``fast_settings``."""
    return Exporter(
        database, database, storage, queue, export_events, fast_settings, worker="tests"
    )


@pytest.fixture
def attempt_cleaner(
    database: Database, storage: MemoryStorage, fast_settings: Settings
) -> AttemptCleaner:
    """The attempt cleaner for the bucket in memory."""
    return AttemptCleaner(database, database, storage, fast_settings)


@pytest.fixture
def recovery(
    database: Database,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    attempt_cleaner: AttemptCleaner,
    fast_settings: Settings,
) -> QueueRecovery:
    """A worker's recovery with ``fast_settings``."""
    return QueueRecovery(database, queue, export_events, fast_settings)


@pytest.fixture
def create_export(database: Database, settings: Settings) -> Callable[..., Awaitable[Export]]:
    """Creates exports of seller 1; keyword arguments change the request."""

    async def create_export(**changes: Any) -> Export:
        result = await submit_export(database, database, settings, make_request(**changes), None)
        return result.export

    return create_export


async def reload(database: Database, export: Export) -> Export:
    """Return the export as it is now."""
    return await find_export(database, export.id, None)


@pytest.fixture
def attempt_cleanup(
    database: Database, export_events: ExportEvents, attempt_cleaner: AttemptCleaner
) -> AttemptCleanup:
    """The cleanup of failed attempts."""
    return AttemptCleanup(database, export_events, attempt_cleaner)
