"""Telling services of their exports' ends (Standard Webhooks), until they have heard it."""

import asyncio
import base64
import hmac
import random
import time
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import transaction
from app.errors import ServiceError, WebhookFailed
from app.exports.endpoints import PREFIX
from app.exports.insistence import insist
from app.ports import WebhookCaller

log = structlog.get_logger()

AT_ONCE = 16
LEASE_S = 60.0
"""Four times as long as a call may take: nobody else makes the same one meanwhile."""

RETRIES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""When a call is made again, in all over three days: the specification's own example."""

BATCH = 1000

CLAIM_DUE = """
    WITH claimed AS (
        UPDATE webhook_deliveries
        SET attempts = attempts + 1,
            due_at = clock_timestamp() + make_interval(secs => :lease_s)
        WHERE (seller_id, id) IN (
            SELECT seller_id, id
            FROM webhook_deliveries
            WHERE status = 'pending' AND due_at <= clock_timestamp()
            ORDER BY due_at
            LIMIT :limit
            FOR UPDATE SKIP LOCKED
        )
        RETURNING seller_id, id, export_id, service, body, attempts
    )
    SELECT
        claimed.*,
        url,
        array_remove(ARRAY[
            secret,
            CASE WHEN old_secret_until > clock_timestamp() THEN old_secret END
        ], NULL) AS secrets
    FROM claimed
    LEFT JOIN webhook_endpoints
        ON webhook_endpoints.service = claimed.service AND disabled_at IS NULL
"""

OWNED = "seller_id = :seller_id AND id = :id AND status = 'pending' AND attempts = :attempts"

DELIVERED = f"""
    UPDATE webhook_deliveries
    SET status = 'delivered', delivered_at = clock_timestamp(), last_error = NULL
    WHERE {OWNED}
"""

DEFERRED = f"""
    UPDATE webhook_deliveries
    SET due_at = clock_timestamp() + make_interval(secs => :delay_s), last_error = :error
    WHERE {OWNED}
"""

FAILED = f"""
    UPDATE webhook_deliveries
    SET status = 'failed', last_error = :error
    WHERE {OWNED}
"""

DISABLE = """
    UPDATE webhook_endpoints
    SET disabled_at = clock_timestamp()
    WHERE service = :service AND url = :url AND disabled_at IS NULL
"""

FORGET = """
    DELETE FROM webhook_deliveries
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM webhook_deliveries
        WHERE created_at < clock_timestamp() - interval '30 days' AND status <> 'pending'
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(frozen=True)
class Delivery:
    """One thing to tell; ``url`` is ``None`` where its service is told nothing any more."""

    seller_id: int
    id: UUID
    export_id: UUID
    service: str
    body: str
    attempts: int
    url: str | None
    secrets: list[str]


class Webhooks:
    """Calls the services whose exports have ended.

    A call that no answer was recorded of is made again after its lease, under
    the same ``webhook-id``.
    """

    def __init__(self, engine: AsyncEngine, caller: WebhookCaller, settings: Settings) -> None:
        self._engine = engine
        self._caller = caller
        self._settings = settings

    async def deliver_due(self) -> int:
        """Make the calls that are due, some at once, and return how many there were.

        Raises:
            DatabaseUnavailable: what was claimed is due again after the lease.
        """
        values = {"limit": AT_ONCE, "lease_s": LEASE_S}
        async with transaction(self._engine) as connection:
            rows = await connection.execute(text(CLAIM_DUE), values)
            due = [Delivery(**row._mapping) for row in rows]
        async with asyncio.TaskGroup() as group:
            for delivery in due:
                group.create_task(self._deliver(delivery))
        return len(due)

    async def forget(self) -> None:
        """Drop what was told or given up 30 days ago."""
        while True:
            async with transaction(self._engine) as connection:
                rows = (await connection.execute(text(FORGET), {"batch": BATCH})).rowcount
            if rows < BATCH:
                return

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._call(delivery)
        except ServiceError as error:
            log.warning("webhook left for later", delivery=str(delivery.id), error=error.code)

    async def _call(self, delivery: Delivery) -> None:
        if delivery.url is None:
            await self._give_up(delivery, "The endpoint is gone.")
            return
        body = delivery.body.encode()
        try:
            headers = signed_headers(delivery, body, int(time.time()))
            status = await self._caller.post(delivery.url, headers, body)
        except WebhookFailed as error:
            await self._defer(delivery, str(error))
            return
        if status == HTTPStatus.GONE:
            await self._record(DISABLE, delivery, service=delivery.service, url=delivery.url)
            await self._give_up(delivery, "The endpoint answered 410.")
        elif status // 100 == 2:
            log.info("webhook delivered", export_id=str(delivery.export_id), status=status)
            await self._record(DELIVERED, delivery)
        else:
            await self._defer(delivery, f"The endpoint answered {status}.")

    async def _defer(self, delivery: Delivery, error: str) -> None:
        if delivery.attempts > len(RETRIES_S):
            await self._give_up(delivery, error)
            return
        delay_s = RETRIES_S[delivery.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - out of step
        log.warning("webhook deferred", export_id=str(delivery.export_id), error=error)
        await self._record(DEFERRED, delivery, delay_s=delay_s, error=error)

    async def _give_up(self, delivery: Delivery, error: str) -> None:
        log.warning("webhook failed", export_id=str(delivery.export_id), error=error)
        await self._record(FAILED, delivery, error=error)

    async def _record(self, sql: str, delivery: Delivery, **values: object) -> None:
        facts = values | {
            "seller_id": delivery.seller_id,
            "id": delivery.id,
            "attempts": delivery.attempts,
        }
        await insist(partial(self._change, sql, facts), self._settings.record_timeout_s)

    async def _change(self, sql: str, values: dict[str, object]) -> None:
        async with transaction(self._engine) as connection:
            await connection.execute(text(sql), values)


def signed_headers(delivery: Delivery, body: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers of a call: its id, its time, and a signature by each secret.

    Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body, in base64.
    """
    signed = f"{delivery.id}.{timestamp}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(_key(secret), signed, sha256)).decode()
        for secret in delivery.secrets
    )
    return {
        "Content-Type": "application/json",
        "webhook-id": str(delivery.id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))
