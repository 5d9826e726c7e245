"""Where services are told of their exports' ends, and the secrets that sign it."""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime

from app.database import Connection

PREFIX = "whsec_"
SECRET_BYTES = 32

ADD = """
    INSERT INTO webhook_endpoints (service, url, secret)
    VALUES ($1, $2, $3)
    ON CONFLICT (service) DO UPDATE
    SET url = excluded.url,
        secret = excluded.secret,
        old_secret = NULL,
        old_secret_until = NULL,
        disabled_at = NULL
"""

ROTATE = """
    UPDATE webhook_endpoints
    SET old_secret = secret,
        old_secret_until = clock_timestamp() + interval '24 hours',
        secret = $2
    WHERE service = $1
    RETURNING service
"""

LIST = """
    SELECT
        service,
        url,
        disabled_at,
        count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'failed') AS failed
    FROM webhook_endpoints
    LEFT JOIN webhook_deliveries USING (service)
    GROUP BY service
    ORDER BY service
"""


@dataclass(frozen=True)
class Endpoint:
    """An address of a service, and how many calls wait or were given up in the last month."""

    service: str
    url: str
    disabled_at: datetime | None
    pending: int
    failed: int


async def add_endpoint(connection: Connection, service: str, url: str) -> str:
    """Tell ``service`` at ``url`` from now on; return the secret, which is not shown again.

    ``service`` is the ``sub`` of its tokens. An address it had is replaced.
    """
    secret = _new_secret()
    await connection.execute(ADD, service, url, secret)
    return secret


async def rotate_secret(connection: Connection, service: str) -> str | None:
    """Return a new secret; for 24 hours the old one signs as well. ``None``: no such service."""
    secret = _new_secret()
    found = await connection.fetchval(ROTATE, service, secret)
    return secret if found is not None else None


async def remove_endpoint(connection: Connection, service: str) -> bool:
    """Tell ``service`` no more; return whether it was told before."""
    status: str = await connection.execute(
        "DELETE FROM webhook_endpoints WHERE service = $1", service
    )
    return status.endswith(" 1")


async def list_endpoints(connection: Connection) -> list[Endpoint]:
    """Return every service's address."""
    return [Endpoint(**row) for row in await connection.fetch(LIST)]


def _new_secret() -> str:
    """Standard Webhooks: 24 to 64 random bytes, in base64 after a prefix."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
