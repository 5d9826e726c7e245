"""Webhook deliveries: report finished exports to services (Standard Webhooks), with retries."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from uuid import UUID

import structlog

from app.concurrency import cancel_and_wait
from app.config import Settings
from app.database.batches import IN_OLDEST, delete_oldest
from app.database.database import Database
from app.database.queue_starts import WEBHOOKS, start_of
from app.errors import ServiceError, WebhookFailed
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected
from app.ports import WebhookSender
from app.retry import retry_until
from app.webhooks.signing import sign

log = structlog.get_logger()

SLOTS_PER_SERVICE = 8
"""Concurrent calls of a worker to one service: a slow one does not delay the others."""

LEASE_S = 60.0
"""Twice the limit of a call, so that no other worker makes the same call at the same time."""

RETRIES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from each failed call to the next one, over three days in total: the example schedule
of Standard Webhooks 1.0.0."""

BATCH = 1000

DELIVERY_IS_DUE = f"""
    service = webhook_endpoints.service
    AND status = 'pending' AND due_at <= statement_timestamp()
    AND due_at >= {start_of(f"'{WEBHOOKS}'")}
"""

# Claims what is due, for each enabled endpoint no more than it has free slots in this process.
CLAIM_DUE = f"""
    WITH due AS MATERIALIZED (
        SELECT waiting.seller_id, waiting.id
        FROM webhook_endpoints
        LEFT JOIN unnest(:busy_services::text[], :calls::int[]) AS busy (service, calls)
            ON busy.service = webhook_endpoints.service
        CROSS JOIN LATERAL (
            SELECT seller_id, id
            FROM webhook_deliveries
            WHERE {DELIVERY_IS_DUE}
            ORDER BY due_at
            LIMIT greatest(0, :slots - coalesce(busy.calls, 0))
            FOR UPDATE SKIP LOCKED
        ) AS waiting
        WHERE disabled_at IS NULL
    ),
    claimed AS (
        UPDATE webhook_deliveries
        SET attempts = attempts + 1,
            due_at = clock_timestamp() + make_interval(secs => :lease_s)
        WHERE (seller_id, id) IN (SELECT seller_id, id FROM due)
        RETURNING seller_id, id, export_id, service, body, attempts
    )
    SELECT
        claimed.*,
        url,
        array_remove(ARRAY[
            secret,
            CASE WHEN old_secret_until > statement_timestamp() THEN old_secret END
        ], NULL) AS secrets
    FROM claimed
    JOIN webhook_endpoints USING (service)
"""

# Fails what is due for services without an enabled endpoint. The recursion steps from one service
# to the next in the index: there may be millions of deliveries for the enabled ones.
FAIL_UNDELIVERABLE = f"""
    WITH RECURSIVE waiting AS (
        SELECT min(service) AS service
        FROM webhook_deliveries
        WHERE status = 'pending'
        UNION ALL
        SELECT (
            SELECT min(service)
            FROM webhook_deliveries
            WHERE status = 'pending' AND service > waiting.service
        )
        FROM waiting
        WHERE service IS NOT NULL
    ),
    gone AS MATERIALIZED (
        SELECT service
        FROM waiting
        WHERE NOT EXISTS (
            SELECT
            FROM webhook_endpoints
            WHERE webhook_endpoints.service = waiting.service AND disabled_at IS NULL
        )
    ),
    old AS MATERIALIZED (
        SELECT home, place
        FROM gone
        CROSS JOIN LATERAL (
            SELECT tableoid AS home, ctid AS place
            FROM webhook_deliveries
            WHERE service = gone.service
                AND status = 'pending' AND due_at <= statement_timestamp()
            ORDER BY due_at
            LIMIT :batch
            FOR UPDATE SKIP LOCKED
        ) AS due
        LIMIT :batch
    )
    UPDATE webhook_deliveries
    SET status = 'failed', last_error = 'The endpoint is gone.'
    WHERE {IN_OLDEST}
"""

# The number of attempts is the fencing token: after a new claim, an old call's result changes
# nothing.
DELIVERY_HELD = (
    "seller_id = :seller_id AND id = :id AND status = 'pending' AND attempts = :attempts"
)

DELIVERED = f"""
    UPDATE webhook_deliveries
    SET status = 'delivered', delivered_at = clock_timestamp(), last_error = NULL
    WHERE {DELIVERY_HELD}
"""

DEFERRED = f"""
    UPDATE webhook_deliveries
    SET due_at = clock_timestamp() + make_interval(secs => :delay_s), last_error = :error
    WHERE {DELIVERY_HELD}
"""

FAILED = f"""
    UPDATE webhook_deliveries
    SET status = 'failed', last_error = :error
    WHERE {DELIVERY_HELD}
"""

DISABLE = """
    UPDATE webhook_endpoints
    SET disabled_at = clock_timestamp()
    WHERE service = :service AND url = :url AND disabled_at IS NULL
"""

DELETE_OLD_DELIVERIES = delete_oldest(
    "webhook_deliveries",
    "created_at < statement_timestamp() - interval '30 days' AND status <> 'pending'",
    "created_at",
)


@dataclass(frozen=True)
class Delivery:
    """A webhook call that this process has claimed.

    Attributes:
        id: The call's ``webhook-id``, the same in every attempt.
        body: The JSON document, frozen when the export ended.
        attempts: How often the call was claimed, this time included.
        secrets: Those that sign the call: the current one, and the one before it for 24 hours.
    """

    seller_id: int
    id: UUID
    export_id: UUID
    service: str
    body: str
    attempts: int
    url: str
    secrets: list[str]

    @property
    def log_fields(self) -> dict[str, str | int]:
        """The fields that identify the delivery in log lines."""
        # Not the URL, which may hold a token.
        return {"export_id": str(self.export_id), "seller_id": self.seller_id}


class WebhookDispatcher:
    """Delivers webhooks to the services whose exports have ended, concurrently.

    A slow service occupies its own slots and delays no other. The calls are tasks of
    ``group``. A call without a recorded result is made again after its lease, under
    the same ``webhook-id``.
    """

    def __init__(
        self,
        database: Database,
        sender: WebhookSender,
        settings: Settings,
        group: asyncio.TaskGroup,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._sender = sender
        self._settings = settings
        self._group = group
        self._metrics = metrics or Metrics()
        self._calls: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()
        self._dispatching = asyncio.Lock()
        self._is_closing = False

    async def dispatch_due(self) -> int:
        """Start the calls that are due and whose service has a free slot; return their number.

        Raises:
            DatabaseUnavailable: claimed deliveries become due again when their lease expires.
        """
        # One at a time: two claims at once would both count the same slots as free.
        async with self._dispatching:
            due = await self._database.fetch(
                CLAIM_DUE,
                busy_services=list(self._busy.keys()),
                calls=list(self._busy.values()),
                slots=SLOTS_PER_SERVICE,
                lease_s=LEASE_S,
            )
            for row in due:
                self._begin(Delivery(**row))
        return len(due)

    async def fail_undeliverable(self) -> None:
        """Fail the pending deliveries of services without an enabled endpoint.

        Raises:
            DatabaseUnavailable: try again.
        """
        count = BATCH
        while count == BATCH:
            count = await self._database.execute(FAIL_UNDELIVERABLE, batch=BATCH)
            self._metrics.webhooks.labels("given_up").inc(count)

    async def prune(self) -> None:
        """Delete deliveries that are older than 30 days and not pending.

        Raises:
            DatabaseUnavailable: try again.
        """
        while await self._database.execute(DELETE_OLD_DELIVERIES, batch=BATCH) == BATCH:
            continue

    async def close(self, grace_s: float) -> None:
        """Start no more calls; after ``grace_s`` seconds, cancel those still in progress."""
        self._is_closing = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace_s)
        await cancel_and_wait(*self._calls)

    def _begin(self, delivery: Delivery) -> None:
        self._busy[delivery.service] += 1
        task = self._group.create_task(self._deliver(delivery))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        """Make a call; after a success, dispatch what else is due, without waiting for a poll."""
        try:
            try:
                is_delivered = await self._call(delivery)
            finally:
                # Before the next dispatch, which may use this slot.
                self._busy[delivery.service] -= 1
            # Only after a success: a service that fails is called at the pace of the polls.
            if is_delivered and not self._is_closing:
                await self.dispatch_due()
        except ServiceError as error:
            log.warning("webhook result not recorded", **delivery.log_fields, error=error.code)
        except Exception:  # it would cancel the task group, and so end the process
            report_unexpected(self._metrics, "webhooks", **delivery.log_fields)

    async def _call(self, delivery: Delivery) -> bool:
        """Make a call, record its result and return whether it was delivered."""
        # Signed and sent are the same bytes: serialized again, they might not match the signature.
        body = delivery.body.encode()
        try:
            headers = sign(str(delivery.id), body, delivery.secrets, int(time.time()))
            status = await self._sender.post(delivery.url, headers, body)
        except WebhookFailed as error:
            await self._defer(delivery, str(error))
            return False
        except Exception as error:
            log.exception("webhook crashed", **delivery.log_fields)
            await self._defer(delivery, f"The call failed: {type(error).__name__}.")
            return False
        if status // 100 == 2:
            log.info("webhook delivered", **delivery.log_fields, http_status=status)
            await self._record(DELIVERED, delivery, "delivered")
            return True
        if status == HTTPStatus.GONE:
            # The endpoint first: after a crash in between, `fail_undeliverable` does the rest.
            await self._disable(delivery)
            await self._give_up(delivery, "The endpoint answered 410.")
        else:
            await self._defer(delivery, f"The endpoint answered {status}.")
        return False

    async def _disable(self, delivery: Delivery) -> None:
        # The URL is compared too: an endpoint registered meanwhile stays enabled.
        disable = partial(
            self._database.execute, DISABLE, service=delivery.service, url=delivery.url
        )
        await retry_until(disable, self._settings.record_timeout_s)

    async def _defer(self, delivery: Delivery, error: str) -> None:
        if delivery.attempts > len(RETRIES_S):
            await self._give_up(delivery, error)
            return
        delay_s = RETRIES_S[delivery.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - out of step
        log.warning("webhook deferred", **delivery.log_fields, error=error)
        await self._record(DEFERRED, delivery, "deferred", delay_s=delay_s, error=error)

    async def _give_up(self, delivery: Delivery, error: str) -> None:
        log.warning("webhook failed", **delivery.log_fields, error=error)
        await self._record(FAILED, delivery, "given_up", error=error)

    async def _record(self, sql: str, delivery: Delivery, outcome: str, **values: object) -> None:
        parameters = values | {
            "seller_id": delivery.seller_id,
            "id": delivery.id,
            "attempts": delivery.attempts,
        }
        change = partial(self._database.execute, sql, **parameters)
        if await retry_until(change, self._settings.record_timeout_s):
            self._metrics.webhooks.labels(outcome).inc()
