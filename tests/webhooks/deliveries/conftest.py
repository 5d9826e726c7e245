"""An endpoint, what calls it, and exports that end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from app.adapters.webhooks.http_client import HttpWebhookClient, open_webhooks
from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database, DatabaseConnection
from app.models import Export
from app.observability.metrics import Metrics
from app.webhooks.deliveries import WebhookDispatcher
from app.webhooks.endpoints import register_endpoint
from tests.webhook_server import WebhookServer, running_webhook_server

Ask = Callable[..., Awaitable[Export]]

TIMEOUT_S = 30

SUCCEED = """
    UPDATE exports
    SET status = 'succeeded', finished_at = clock_timestamp(), file_name = 'audience.csv',
        file_rows = 3, file_bytes = 99, file_checksum = 'crc32c:yZRlqg=='
    WHERE id = $1
"""


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """The endpoint of the service ``storefront``."""
    with running_webhook_server() as server:
        yield server


@pytest.fixture
async def caller(settings: Settings) -> AsyncIterator[HttpWebhookClient]:
    """A caller that may call this machine."""
    async with open_webhooks(settings) as caller:
        yield caller


@pytest.fixture
async def webhooks(
    database: Database, caller: HttpWebhookClient, settings: Settings, metrics: Metrics
) -> AsyncIterator[WebhookDispatcher]:
    """What a worker calls with."""
    async with asyncio.TaskGroup() as group:
        webhooks = WebhookDispatcher(database, caller, settings, group, metrics)
        yield webhooks
        await webhooks.close(0)


@pytest.fixture
def metrics() -> Metrics:
    """What that worker counts."""
    return Metrics()


@pytest.fixture
async def secret(connection: Connection, server: WebhookServer) -> str:
    """The secret of ``storefront``, whose endpoint is ``server``."""
    return await register_endpoint(
        DatabaseConnection(connection), "storefront", f"{server.url}/hook?a=b"
    )


async def succeeded(create_export: Ask, connection: Connection, **changes: Any) -> Export:
    export = await create_export(**{"service": "storefront"} | changes)
    await connection.execute(SUCCEED, export.id)
    return export


async def owe(connection: Connection, service: str, calls: int) -> None:
    """Insert this many deliveries to a service."""
    await connection.execute(
        """
        INSERT INTO webhook_deliveries (seller_id, export_id, service, body)
        SELECT 1, uuidv7(), $1, '{}' FROM generate_series(1, $2)
        """,
        service,
        calls,
    )


async def has_received(server: WebhookServer, calls: int) -> bool:
    """Return whether an endpoint was called so often, and not more often."""
    return len(server.calls) == calls


async def dispatch(webhooks: WebhookDispatcher) -> int:
    """Begin what is due, wait for the answers and return how many calls there were."""
    await webhooks.fail_undeliverable()
    begun = await webhooks.dispatch_due()
    await webhooks.close(TIMEOUT_S)
    return begun


async def deliveries(connection: Connection) -> list[Any]:
    return list(await connection.fetch("SELECT * FROM webhook_deliveries ORDER BY id"))


async def make_due(connection: Connection) -> None:
    await connection.execute("UPDATE webhook_deliveries SET due_at = clock_timestamp()")
