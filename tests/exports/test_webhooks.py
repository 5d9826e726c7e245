"""Webhooks: each end is told once it is heard, signed, for three days, and to nobody inside."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook

from app.adapters.webhooks import HttpWebhooks, open_webhooks
from app.config import Settings
from app.database import Connection
from app.exports.deletion import delete_export
from app.exports.endpoints import add_endpoint, list_endpoints, remove_endpoint, rotate_secret
from app.exports.residue import Residue
from app.exports.webhooks import PLACES, RETRIES_S, Webhooks
from app.metrics import Metrics
from app.models import Export
from tests.waiting import until
from tests.webhook_server import WebhookServer, running_webhook_server

Ask = Callable[..., Awaitable[Export]]

PATIENCE_S = 30

SUCCEED = """
    UPDATE exports
    SET status = 'succeeded', finished_at = clock_timestamp(), file_name = 'audience.csv',
        file_rows = 3, file_bytes = 99
    WHERE id = $1
"""


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """The endpoint of the service ``storefront``."""
    with running_webhook_server() as server:
        yield server


@pytest.fixture
async def caller(settings: Settings) -> AsyncIterator[HttpWebhooks]:
    """A caller that may call this machine."""
    async with open_webhooks(settings) as caller:
        yield caller


@pytest.fixture
async def webhooks(
    engine: AsyncEngine, caller: HttpWebhooks, settings: Settings, metrics: Metrics
) -> AsyncIterator[Webhooks]:
    """What a worker calls with."""
    async with asyncio.TaskGroup() as group:
        webhooks = Webhooks(engine, caller, settings, group, metrics)
        yield webhooks
        await webhooks.close(0)


@pytest.fixture
def metrics() -> Metrics:
    """What that worker counts."""
    return Metrics()


@pytest.fixture
async def secret(connection: Connection, server: WebhookServer) -> str:
    """The secret of ``storefront``, which is told at ``server``."""
    return await add_endpoint(connection, "storefront", f"{server.url}/hook?a=b")


async def succeeded(ask: Ask, connection: Connection, **changes: Any) -> Export:
    export = await ask(**{"service": "storefront"} | changes)
    await connection.execute(SUCCEED, export.id)
    return export


async def owe(connection: Connection, service: str, calls: int) -> None:
    """Let a service be told so many things."""
    await connection.execute(
        """
        INSERT INTO webhook_deliveries (seller_id, export_id, service, body)
        SELECT 1, uuidv7(), $1, '{}' FROM generate_series(1, $2)
        """,
        service,
        calls,
    )


async def has_heard(server: WebhookServer, calls: int) -> bool:
    """Return whether an endpoint was called so often, and not more often."""
    return len(server.calls) == calls


async def told(webhooks: Webhooks) -> int:
    """Begin what is due, wait for the answers and return how many calls there were."""
    await webhooks.abandon()
    begun = await webhooks.begin_due()
    await webhooks.close(PATIENCE_S)
    return begun


def counted(metrics: Metrics, outcome: str) -> float:
    """Return how often a worker's calls ended so."""
    value = metrics.registry.get_sample_value(
        "audience_export_webhooks_total", {"outcome": outcome}
    )
    return value or 0


async def deliveries(connection: Connection) -> list[Any]:
    return list(await connection.fetch("SELECT * FROM webhook_deliveries ORDER BY id"))


async def make_due(connection: Connection) -> None:
    await connection.execute("UPDATE webhook_deliveries SET due_at = clock_timestamp()")


async def test_an_end_is_told_signed_and_without_address_or_link(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    export = await succeeded(ask, connection)
    assert await told(webhooks) == 1
    (call,) = server.calls
    assert call.path == "/hook?a=b"
    message = Webhook(secret).verify(call.body, call.headers)
    assert message["type"] == "export.succeeded"
    data = message["data"]
    assert (data["id"], data["seller_id"], data["status"]) == (str(export.id), 1, "succeeded")
    assert data["file"] == {"name": "audience.csv", "rows": 3, "bytes": 99}
    assert b"@" not in call.body
    assert b"http" not in call.body
    (row,) = await deliveries(connection)
    assert (row["status"], row["attempts"], row["last_error"]) == ("delivered", 1, None)
    assert await told(webhooks) == 0


async def test_a_cancel_is_told(
    ask: Ask,
    connection: Connection,
    engine: AsyncEngine,
    residue: Residue,
    webhooks: Webhooks,
    server: WebhookServer,
    secret: str,
) -> None:
    export = await ask(service="storefront")
    await delete_export(engine, residue, export.id, None)
    await told(webhooks)
    assert json.loads(server.calls[0].body)["type"] == "export.cancelled"


@pytest.mark.parametrize("service", [None, "somebody else"])
async def test_only_the_service_that_asked_is_told(
    ask: Ask, connection: Connection, secret: str, service: str | None
) -> None:
    await succeeded(ask, connection, service=service)
    assert await deliveries(connection) == []


@pytest.mark.parametrize("status", [500, 404, 307])
async def test_what_is_not_heard_is_told_again_later_and_the_same(
    ask: Ask,
    connection: Connection,
    webhooks: Webhooks,
    server: WebhookServer,
    secret: str,
    status: int,
) -> None:
    server.statuses = [status]
    await succeeded(ask, connection)
    await told(webhooks)
    (row,) = await deliveries(connection)
    assert (row["status"], row["last_error"]) == ("pending", f"The endpoint answered {status}.")
    assert await told(webhooks) == 0
    await make_due(connection)
    await told(webhooks)
    first, again = server.calls
    assert [call.path for call in server.calls] == ["/hook?a=b"] * 2
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert (await deliveries(connection))[0]["status"] == "delivered"


async def test_after_three_days_it_is_given_up(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    assert 3 * 86_400 * 0.9 < sum(RETRIES_S) < 3.5 * 86_400
    server.statuses = [500]
    await succeeded(ask, connection)
    await connection.execute("UPDATE webhook_deliveries SET attempts = $1", len(RETRIES_S))
    await told(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    (endpoint,) = await list_endpoints(connection)
    assert (endpoint.pending, endpoint.failed) == (0, 1)


async def test_gone_disables_the_endpoint(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    server.statuses = [410]
    await succeeded(ask, connection)
    await told(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    (endpoint,) = await list_endpoints(connection)
    assert endpoint.disabled_at is not None
    await succeeded(ask, connection, sources=("customer",))
    assert len(await deliveries(connection)) == 1


async def test_both_secrets_sign_for_a_day_after_a_rotation(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    new = await rotate_secret(connection, "storefront")
    assert new is not None
    await succeeded(ask, connection)
    await told(webhooks)
    for each in (secret, new):
        Webhook(each).verify(server.calls[0].body, server.calls[0].headers)
    await connection.execute(
        "UPDATE webhook_endpoints SET old_secret_until = old_secret_until - interval '24 hours'"
    )
    await succeeded(ask, connection, sources=("customer",))
    await told(webhooks)
    assert len(server.calls[1].headers["webhook-signature"].split()) == 1
    Webhook(new).verify(server.calls[1].body, server.calls[1].headers)


async def test_what_waits_for_a_removed_endpoint_is_given_up(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    await succeeded(ask, connection)
    assert await remove_endpoint(connection, "storefront")
    await told(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    assert server.calls == []


async def test_a_call_that_died_is_made_again_after_its_lease(
    ask: Ask, connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    await succeeded(ask, connection)
    await connection.execute("""
        UPDATE webhook_deliveries
        SET attempts = 1, due_at = clock_timestamp() + interval '60 seconds'
    """)
    assert await told(webhooks) == 0
    await make_due(connection)
    assert await told(webhooks) == 1
    assert (await deliveries(connection))[0]["status"] == "delivered"


async def test_what_was_told_long_ago_is_forgotten(
    ask: Ask, connection: Connection, webhooks: Webhooks, secret: str
) -> None:
    await succeeded(ask, connection)
    await told(webhooks)
    await webhooks.forget()
    assert len(await deliveries(connection)) == 1
    await connection.execute(
        "UPDATE webhook_deliveries SET created_at = created_at - interval '31 days'"
    )
    await webhooks.forget()
    assert await deliveries(connection) == []


async def test_an_endpoint_that_hangs_keeps_nobody_else_waiting(
    ask: Ask,
    connection: Connection,
    webhooks: Webhooks,
    server: WebhookServer,
    secret: str,
) -> None:
    with running_webhook_server() as slow:
        slow.answers.clear()
        await add_endpoint(connection, "slow", slow.url)
        await owe(connection, "slow", PLACES + 3)
        await succeeded(ask, connection)
        assert await webhooks.begin_due() == PLACES + 1
        await until(lambda: has_heard(server, 1), PATIENCE_S)
        await succeeded(ask, connection, sources=("customer",))
        await webhooks.begin_due()  # unless the call before has gone on to it
        await until(lambda: has_heard(server, 2), PATIENCE_S)
        assert await webhooks.begin_due() == 0
        await until(lambda: has_heard(slow, PLACES), PATIENCE_S)
        slow.answers.set()
        await until(lambda: has_heard(slow, PLACES + 3), PATIENCE_S)
        await webhooks.close(PATIENCE_S)
    assert {row["status"] for row in await deliveries(connection)} == {"delivered"}


async def test_a_call_that_is_cut_off_by_the_end_is_made_again_after_its_lease(
    connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    server.answers.clear()
    await owe(connection, "storefront", 1)
    await webhooks.begin_due()
    await until(lambda: has_heard(server, 1), PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S / 3):
        await webhooks.close(0.01)
    (row,) = await deliveries(connection)
    assert (row["status"], row["attempts"]) == ("pending", 1)


async def test_a_secret_that_somebody_spoilt_stops_no_worker(
    connection: Connection, webhooks: Webhooks, server: WebhookServer, secret: str
) -> None:
    await connection.execute("UPDATE webhook_endpoints SET secret = 'whsec_x'")
    await owe(connection, "storefront", 1)
    await told(webhooks)
    (row,) = await deliveries(connection)
    assert (row["status"], row["last_error"]) == ("pending", "The call broke: Error.")


async def test_calls_are_counted_by_how_they_ended(
    connection: Connection,
    webhooks: Webhooks,
    metrics: Metrics,
    server: WebhookServer,
    secret: str,
) -> None:
    server.statuses = [204, 500]
    await owe(connection, "storefront", 2)
    await owe(connection, "nobody", 1)
    await told(webhooks)
    counts = {each: counted(metrics, each) for each in ("delivered", "deferred", "given_up")}
    assert counts == {"delivered": 1, "deferred": 1, "given_up": 1}
