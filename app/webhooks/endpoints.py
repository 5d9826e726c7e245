"""Webhook endpoints: the URL of each service, and the secrets that sign its calls."""

from dataclasses import dataclass
from datetime import datetime

from app.database.database import Queryable
from app.webhooks.signing import new_secret

# The old secret goes: calls to a new URL are not signed for the endpoint that was there before.
ADD = """
    INSERT INTO webhook_endpoints (service, url, secret, all_exports)
    VALUES (:service, :url, :secret, :all_exports)
    ON CONFLICT (service) DO UPDATE
    SET url = excluded.url,
        secret = excluded.secret,
        all_exports = excluded.all_exports,
        old_secret = NULL,
        old_secret_until = NULL,
        disabled_at = NULL
"""

ROTATE = """
    UPDATE webhook_endpoints
    SET old_secret = secret,
        old_secret_until = clock_timestamp() + interval '24 hours',
        secret = :secret
    WHERE service = :service
"""

REMOVE = "DELETE FROM webhook_endpoints WHERE service = :service"

LIST = """
    SELECT
        service,
        url,
        disabled_at,
        all_exports,
        count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'failed') AS failed
    FROM webhook_endpoints
    LEFT JOIN webhook_deliveries USING (service)
    GROUP BY service
    ORDER BY service
"""


@dataclass(frozen=True)
class WebhookEndpoint:
    """A service's endpoint.

    Attributes:
        service: The ``sub`` of the service's tokens.
        disabled_at: When it answered 410 and was disabled; ``None`` while it is enabled.
        pending: Its deliveries that are to be made.
        failed: Its deliveries that were given up in the last 30 days.
    """

    service: str
    url: str
    disabled_at: datetime | None
    all_exports: bool
    pending: int
    failed: int


async def register_endpoint(
    database: Queryable, service: str, url: str, *, all_exports: bool = False
) -> str:
    """Register the endpoint of ``service``; return its new secret, which is not shown again.

    ``service`` is the ``sub`` of its tokens. An existing endpoint is replaced and enabled. With
    ``all_exports`` it is called about the exports of every seller and service, and also when one
    is requested.
    """
    secret = new_secret()
    await database.execute(ADD, service=service, url=url, secret=secret, all_exports=all_exports)
    return secret


async def rotate_secret(database: Queryable, service: str) -> str | None:
    """Replace a service's secret and return the new one; ``None`` for an unknown service.

    For 24 hours calls are signed with the old secret as well.
    """
    secret = new_secret()
    found = await database.execute(ROTATE, service=service, secret=secret)
    return secret if found else None


async def remove_endpoint(database: Queryable, service: str) -> bool:
    """Delete the endpoint of ``service``; return whether it existed."""
    return await database.execute(REMOVE, service=service) == 1


async def list_endpoints(database: Queryable) -> list[WebhookEndpoint]:
    """Return the endpoints of all services, in the order of their names."""
    return [WebhookEndpoint(**row) for row in await database.fetch(LIST)]
