"""Webhooks: each end is delivered, signed, to the services that asked for it."""

import json

import pytest
from standardwebhooks import Webhook

from app.database.connections import Connection
from app.database.database import Database, DatabaseConnection
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from app.observability.metrics import Metrics
from app.webhooks.deliveries import WebhookDispatcher
from app.webhooks.endpoints import register_endpoint
from tests.webhook_server import WebhookServer
from tests.webhooks.deliveries.conftest import SUCCEED, Ask, deliveries, dispatch, owe, succeeded


def counted(metrics: Metrics, outcome: str) -> float:
    """Return how often a worker's calls ended so."""
    value = metrics.registry.get_sample_value(
        "audience_export_webhooks_total", {"outcome": outcome}
    )
    return value or 0


async def test_an_end_is_delivered_signed_and_without_address_or_link(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    export = await succeeded(create_export, connection)
    assert await dispatch(webhooks) == 1
    (call,) = server.calls
    assert call.path == "/hook?a=b"
    message = Webhook(secret).verify(call.body, call.headers)
    assert message["type"] == "export.succeeded"
    data = message["data"]
    assert (data["id"], data["seller_id"], data["status"]) == (str(export.id), 1, "succeeded")
    assert data["file"] == {
        "name": "audience.csv",
        "rows": 3,
        "bytes": 99,
        "checksum": "crc32c:yZRlqg==",
    }
    assert b"@" not in call.body
    assert b"http" not in call.body
    (row,) = await deliveries(connection)
    assert (row["status"], row["attempts"], row["last_error"]) == ("delivered", 1, None)
    assert await dispatch(webhooks) == 0


async def test_a_cancel_is_reported(
    create_export: Ask,
    connection: Connection,
    database: Database,
    attempt_cleaner: AttemptCleaner,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    export = await create_export(service="storefront")
    await delete_export(database, attempt_cleaner, export.id, None)
    await dispatch(webhooks)
    assert json.loads(server.calls[0].body)["type"] == "export.cancelled"


@pytest.mark.parametrize("service", [None, "somebody else"])
async def test_only_the_service_that_requested_the_export_is_notified(
    create_export: Ask, connection: Connection, secret: str, service: str | None
) -> None:
    await succeeded(create_export, connection, service=service)
    assert await deliveries(connection) == []


async def test_calls_are_counted_by_how_they_ended(
    connection: Connection,
    webhooks: WebhookDispatcher,
    metrics: Metrics,
    server: WebhookServer,
    secret: str,
) -> None:
    server.statuses = [204, 500]
    await owe(connection, "storefront", 2)
    await owe(connection, "nobody", 1)
    await dispatch(webhooks)
    counts = {each: counted(metrics, each) for each in ("delivered", "deferred", "given_up")}
    assert counts == {"delivered": 1, "deferred": 1, "given_up": 1}


async def bodies(connection: Connection, service: str) -> list[tuple[str, int]]:
    """Return the type and the seller of each call of a service, in order."""
    rows = await connection.fetch(
        "SELECT body FROM webhook_deliveries WHERE service = $1 ORDER BY id", service
    )
    parsed = [json.loads(row["body"]) for row in rows]
    return [(body["type"], body["data"]["seller_id"]) for body in parsed]


async def test_a_service_added_for_all_is_called_about_every_export_from_its_request_on(
    create_export: Ask, connection: Connection, secret: str, server: WebhookServer
) -> None:
    await register_endpoint(DatabaseConnection(connection), "ledger", server.url, all_exports=True)
    await succeeded(create_export, connection)
    await succeeded(create_export, connection, seller_id=2, service=None)
    await succeeded(create_export, connection, seller_id=3, service="ledger")
    kinds = ("export.requested", "export.succeeded")
    assert await bodies(connection, "ledger") == [(kind, n) for n in (1, 2, 3) for kind in kinds]
    assert await bodies(connection, "storefront") == [("export.succeeded", 1)]


async def test_a_retried_export_is_called_about_again_at_its_new_end(
    create_export: Ask, connection: Connection, secret: str
) -> None:
    export = await create_export(service="storefront")
    failed = "UPDATE exports SET status = 'failed', finished_at = clock_timestamp()"
    await connection.execute(failed)
    await connection.execute("UPDATE exports SET status = 'queued', finished_at = NULL")
    await connection.execute(SUCCEED, export.id)
    ends = ["export.failed", "export.succeeded"]
    assert await bodies(connection, "storefront") == [(end, 1) for end in ends]
