"""Telling services of their exports' ends (Standard Webhooks), until they have heard it."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.ending import end
from app.errors import ServiceError, WebhookFailed
from app.exports.insistence import insist
from app.exports.signatures import signed_headers
from app.metrics import Metrics
from app.ports import WebhookCaller
from app.statements import Statement

log = structlog.get_logger()

PLACES = 8
"""Calls to one service that a worker makes at once: each has places of its own."""

LEASE_S = 60.0
"""Four times as long as a call may take: nobody else makes the same one meanwhile."""

RETRIES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""When a call is made again, in all over three days: the specification's own example."""

BATCH = 1000

CLAIM_DUE = Statement("""
    WITH claimed AS (
        UPDATE webhook_deliveries
        SET attempts = attempts + 1,
            due_at = clock_timestamp() + make_interval(secs => :lease_s)
        WHERE (seller_id, id) IN (
            SELECT due.seller_id, due.id
            FROM webhook_endpoints
            LEFT JOIN unnest(:busy_services::text[], :calls::int[]) AS busy (service, calls)
                ON busy.service = webhook_endpoints.service
            CROSS JOIN LATERAL (
                SELECT seller_id, id
                FROM webhook_deliveries
                WHERE service = webhook_endpoints.service
                    AND status = 'pending' AND due_at <= clock_timestamp()
                ORDER BY due_at
                LIMIT greatest(0, :places - coalesce(busy.calls, 0))
                FOR UPDATE SKIP LOCKED
            ) AS due
            WHERE disabled_at IS NULL
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
    JOIN webhook_endpoints USING (service)
""")

ABANDON = Statement("""
    UPDATE webhook_deliveries
    SET status = 'failed', last_error = 'The endpoint is gone.'
    WHERE status = 'pending' AND due_at <= clock_timestamp()
        AND service NOT IN (SELECT service FROM webhook_endpoints WHERE disabled_at IS NULL)
    RETURNING id
""")

OWNED = "seller_id = :seller_id AND id = :id AND status = 'pending' AND attempts = :attempts"

DELIVERED = Statement(f"""
    UPDATE webhook_deliveries
    SET status = 'delivered', delivered_at = clock_timestamp(), last_error = NULL
    WHERE {OWNED}
    RETURNING id
""")

DEFERRED = Statement(f"""
    UPDATE webhook_deliveries
    SET due_at = clock_timestamp() + make_interval(secs => :delay_s), last_error = :error
    WHERE {OWNED}
    RETURNING id
""")

FAILED = Statement(f"""
    UPDATE webhook_deliveries
    SET status = 'failed', last_error = :error
    WHERE {OWNED}
    RETURNING id
""")

DISABLE = Statement("""
    UPDATE webhook_endpoints
    SET disabled_at = clock_timestamp()
    WHERE service = :service AND url = :url AND disabled_at IS NULL
""")

FORGET = Statement("""
    DELETE FROM webhook_deliveries
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM webhook_deliveries
        WHERE created_at < clock_timestamp() - interval '30 days' AND status <> 'pending'
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
""")


@dataclass(frozen=True)
class Delivery:
    """One thing to tell."""

    seller_id: int
    id: UUID
    export_id: UUID
    service: str
    body: str
    attempts: int
    url: str
    secrets: list[str]

    @property
    def names(self) -> dict[str, str | int]:
        """What log lines know it by."""
        return {"export_id": str(self.export_id), "seller_id": self.seller_id}


class Webhooks:
    """Calls the services whose exports have ended, each beside the others.

    A service that is slow to answer keeps its own places busy and nobody
    else waiting. The calls are tasks of ``group``. One that no answer was
    recorded of is made again after its lease, under the same ``webhook-id``.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        caller: WebhookCaller,
        settings: Settings,
        group: asyncio.TaskGroup,
        metrics: Metrics | None = None,
    ) -> None:
        self._engine = engine
        self._caller = caller
        self._settings = settings
        self._group = group
        self._metrics = metrics or Metrics()
        self._calls: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._is_closing = False

    async def begin_due(self) -> int:
        """Begin the calls that are due, where their service has a place, and return how many.

        Raises:
            DatabaseUnavailable: what was claimed is due again after the lease.
        """
        async with self._turn:
            due = await CLAIM_DUE.rows(
                self._engine,
                busy_services=list(self._busy.keys()),
                calls=list(self._busy.values()),
                places=PLACES,
                lease_s=LEASE_S,
            )
            for row in due:
                self._begin(Delivery(**row))
        return len(due)

    async def abandon(self) -> None:
        """Give up what waits for a service that is told nothing any more.

        Raises:
            DatabaseUnavailable: try again.
        """
        abandoned = await ABANDON.rows(self._engine)
        self._metrics.webhooks.labels("given_up").inc(len(abandoned))

    async def forget(self) -> None:
        """Drop what was told or given up 30 days ago.

        Raises:
            DatabaseUnavailable: try again.
        """
        while len(await FORGET.rows(self._engine, batch=BATCH)) == BATCH:
            continue

    async def close(self, grace_s: float) -> None:
        """Go on to nothing more, and give the calls under way ``grace_s`` to be answered."""
        self._is_closing = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace_s)
        await end(*self._calls)

    def _begin(self, delivery: Delivery) -> None:
        self._busy[delivery.service] += 1
        task = self._group.create_task(self._deliver(delivery))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        """Make a call; a service that has heard it is told the next thing at once."""
        try:
            try:
                is_heard = await self._call(delivery)
            finally:
                self._busy[delivery.service] -= 1
            if is_heard and not self._is_closing:
                await self.begin_due()
        except ServiceError as error:
            log.warning("webhook left for later", **delivery.names, error=error.code)

    async def _call(self, delivery: Delivery) -> bool:
        """Make a call, record what became of it and return whether it was heard."""
        body = delivery.body.encode()
        try:
            headers = signed_headers(str(delivery.id), body, delivery.secrets, int(time.time()))
            status = await self._caller.post(delivery.url, headers, body)
        except WebhookFailed as error:
            await self._defer(delivery, str(error))
            return False
        except Exception as error:
            log.exception("webhook broke", **delivery.names)
            await self._defer(delivery, f"The call broke: {type(error).__name__}.")
            return False
        if status // 100 == 2:
            log.info("webhook delivered", **delivery.names, answer=status)
            await self._record(DELIVERED, delivery, "delivered")
            return True
        if status == HTTPStatus.GONE:
            await self._disable(delivery)
            await self._give_up(delivery, "The endpoint answered 410.")
        else:
            await self._defer(delivery, f"The endpoint answered {status}.")
        return False

    async def _disable(self, delivery: Delivery) -> None:
        disable = partial(DISABLE.row, self._engine, service=delivery.service, url=delivery.url)
        await insist(disable, self._settings.record_timeout_s)

    async def _defer(self, delivery: Delivery, error: str) -> None:
        if delivery.attempts > len(RETRIES_S):
            await self._give_up(delivery, error)
            return
        delay_s = RETRIES_S[delivery.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - out of step
        log.warning("webhook deferred", **delivery.names, error=error)
        await self._record(DEFERRED, delivery, "deferred", delay_s=delay_s, error=error)

    async def _give_up(self, delivery: Delivery, error: str) -> None:
        log.warning("webhook failed", **delivery.names, error=error)
        await self._record(FAILED, delivery, "given_up", error=error)

    async def _record(
        self, statement: Statement, delivery: Delivery, outcome: str, **values: object
    ) -> None:
        facts = values | {
            "seller_id": delivery.seller_id,
            "id": delivery.id,
            "attempts": delivery.attempts,
        }
        change = partial(statement.row, self._engine, **facts)
        if await insist(change, self._settings.record_timeout_s) is not None:
            self._metrics.webhooks.labels(outcome).inc()
