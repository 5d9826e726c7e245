"""Calls that fail, hang or are cut off: made again, for three days."""

import asyncio

import pytest

from app.database.connections import Connection
from app.database.database import DatabaseConnection
from app.observability.metrics import Metrics
from app.webhooks.deliveries import RETRIES_S, SLOTS_PER_SERVICE, WebhookDispatcher
from app.webhooks.endpoints import list_endpoints, register_endpoint
from tests.polling import until
from tests.webhook_server import WebhookServer, running_webhook_server
from tests.webhooks.deliveries.conftest import (
    TIMEOUT_S,
    Ask,
    deliveries,
    dispatch,
    has_received,
    make_due,
    owe,
    succeeded,
)


async def test_an_unexpected_error_of_a_call_ends_nothing_else(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    metrics: Metrics,
    server: WebhookServer,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(webhooks, "_record", broken)
    await succeeded(create_export, connection)
    await dispatch(webhooks)
    unexpected = {"component": "webhooks"}
    name = "audience_export_unexpected_errors_total"
    assert metrics.registry.get_sample_value(name, unexpected) == 1
    assert await has_received(server, 1)


@pytest.mark.parametrize("status", [500, 404, 307])
async def test_a_failed_call_is_made_again_later_with_the_same_content(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
    status: int,
) -> None:
    server.statuses = [status]
    await succeeded(create_export, connection)
    await dispatch(webhooks)
    (row,) = await deliveries(connection)
    assert (row["status"], row["last_error"]) == ("pending", f"The endpoint answered {status}.")
    assert await dispatch(webhooks) == 0
    await make_due(connection)
    await dispatch(webhooks)
    first, again = server.calls
    assert [call.path for call in server.calls] == ["/hook?a=b"] * 2
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert (await deliveries(connection))[0]["status"] == "delivered"


async def test_after_three_days_it_is_given_up(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    assert 3 * 86_400 * 0.9 < sum(RETRIES_S) < 3.5 * 86_400
    server.statuses = [500]
    await succeeded(create_export, connection)
    await connection.execute("UPDATE webhook_deliveries SET attempts = $1", len(RETRIES_S))
    await dispatch(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    (endpoint,) = await list_endpoints(DatabaseConnection(connection))
    assert (endpoint.pending, endpoint.failed) == (0, 1)


async def test_a_call_that_died_is_made_again_after_its_lease(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    await succeeded(create_export, connection)
    await connection.execute("""
        UPDATE webhook_deliveries
        SET attempts = 1, due_at = clock_timestamp() + interval '60 seconds'
    """)
    assert await dispatch(webhooks) == 0
    await make_due(connection)
    assert await dispatch(webhooks) == 1
    assert (await deliveries(connection))[0]["status"] == "delivered"


async def test_what_was_delivered_long_ago_is_deleted(
    create_export: Ask, connection: Connection, webhooks: WebhookDispatcher, secret: str
) -> None:
    await succeeded(create_export, connection)
    await dispatch(webhooks)
    await webhooks.prune()
    assert len(await deliveries(connection)) == 1
    await connection.execute(
        "UPDATE webhook_deliveries SET created_at = created_at - interval '31 days'"
    )
    await webhooks.prune()
    assert await deliveries(connection) == []


async def test_an_endpoint_that_hangs_keeps_nobody_else_waiting(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    with running_webhook_server() as slow:
        slow.answers.clear()
        await register_endpoint(DatabaseConnection(connection), "slow", slow.url)
        await owe(connection, "slow", SLOTS_PER_SERVICE + 3)
        await succeeded(create_export, connection)
        assert await webhooks.dispatch_due() == SLOTS_PER_SERVICE + 1
        await until(lambda: has_received(server, 1), TIMEOUT_S)
        await succeeded(create_export, connection, sources=("customer",))
        await webhooks.dispatch_due()  # unless the call before has gone on to it
        await until(lambda: has_received(server, 2), TIMEOUT_S)
        assert await webhooks.dispatch_due() == 0
        await until(lambda: has_received(slow, SLOTS_PER_SERVICE), TIMEOUT_S)
        slow.answers.set()
        await until(lambda: has_received(slow, SLOTS_PER_SERVICE + 3), TIMEOUT_S)
        await webhooks.close(TIMEOUT_S)
    assert {row["status"] for row in await deliveries(connection)} == {"delivered"}


async def test_a_call_that_is_cut_off_by_the_end_is_made_again_after_its_lease(
    connection: Connection, webhooks: WebhookDispatcher, server: WebhookServer, secret: str
) -> None:
    server.answers.clear()
    await owe(connection, "storefront", 1)
    await webhooks.dispatch_due()
    await until(lambda: has_received(server, 1), TIMEOUT_S)
    async with asyncio.timeout(TIMEOUT_S / 3):
        await webhooks.close(0.01)
    (row,) = await deliveries(connection)
    assert (row["status"], row["attempts"]) == ("pending", 1)
