"""Endpoints that are gone, removed, rotated or broken."""

from standardwebhooks import Webhook

from app.database.connections import Connection
from app.database.database import DatabaseConnection
from app.webhooks.deliveries import WebhookDispatcher
from app.webhooks.endpoints import list_endpoints, remove_endpoint, rotate_secret
from tests.webhook_server import WebhookServer
from tests.webhooks.deliveries.conftest import Ask, deliveries, dispatch, owe, succeeded


async def test_gone_disables_the_endpoint(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    server.statuses = [410]
    await succeeded(create_export, connection)
    await dispatch(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    (endpoint,) = await list_endpoints(DatabaseConnection(connection))
    assert endpoint.disabled_at is not None
    await succeeded(create_export, connection, sources=("customer",))
    assert len(await deliveries(connection)) == 1


async def test_both_secrets_sign_for_a_day_after_a_rotation(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    new = await rotate_secret(DatabaseConnection(connection), "storefront")
    assert new is not None
    await succeeded(create_export, connection)
    await dispatch(webhooks)
    for each in (secret, new):
        Webhook(each).verify(server.calls[0].body, server.calls[0].headers)
    await connection.execute(
        "UPDATE webhook_endpoints SET old_secret_until = old_secret_until - interval '24 hours'"
    )
    await succeeded(create_export, connection, sources=("customer",))
    await dispatch(webhooks)
    assert len(server.calls[1].headers["webhook-signature"].split()) == 1
    Webhook(new).verify(server.calls[1].body, server.calls[1].headers)


async def test_what_waits_for_a_removed_endpoint_is_given_up(
    create_export: Ask,
    connection: Connection,
    webhooks: WebhookDispatcher,
    server: WebhookServer,
    secret: str,
) -> None:
    await succeeded(create_export, connection)
    assert await remove_endpoint(DatabaseConnection(connection), "storefront")
    await dispatch(webhooks)
    assert (await deliveries(connection))[0]["status"] == "failed"
    assert server.calls == []


async def test_a_secret_that_somebody_spoilt_stops_no_worker(
    connection: Connection, webhooks: WebhookDispatcher, server: WebhookServer, secret: str
) -> None:
    await connection.execute("UPDATE webhook_endpoints SET secret = 'whsec_x'")
    await owe(connection, "storefront", 1)
    await dispatch(webhooks)
    (row,) = await deliveries(connection)
    assert (row["status"], row["last_error"]) == ("pending", "The call failed: Error.")
