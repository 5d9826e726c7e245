"""The composition root: opens everything that the API, the worker and the CLI use."""

from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import cast

import structlog
from sqlalchemy.pool import QueuePool

from app.adapters.redis.connections import open_redis_info
from app.adapters.redis.pubsub import open_export_events
from app.adapters.redis.queue import open_queue
from app.adapters.s3.client import uses_temporary_credentials
from app.adapters.s3.storage import open_storage
from app.adapters.s3.traced_storage import TracedStorage
from app.adapters.smtp.mailer import open_mailer
from app.adapters.webhooks.http_client import open_webhooks
from app.audience.options import OptionsResolver
from app.audience.shared_counts import SharedCounts
from app.concurrency import KeyedLocks
from app.config import Settings
from app.database.database import Database, open_database
from app.errors import SettingsInvalid
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.mail_templates import mail_templates
from app.exports.metrics import read_export_gauges
from app.feeds.totals import read_import_counters
from app.observability.event_loop_lag import monitor_event_loop
from app.observability.metrics import Metrics, MetricValues
from app.observability.shared_metrics import SharedMetricsCollector
from app.observability.tracing import NOOP_TRACER, Tracer
from app.ports import ExportEvents, ExportQueue, Mailer, ObjectStorage, WebhookSender

log = structlog.get_logger()

OTEL = "app.adapters.otel"
"""Imported only if tracing is on: it needs the extra ``otel``."""


@dataclass(frozen=True)
class Resources:
    """The adapters and shared objects of a process.

    ``database`` is the pool of the primary; ``audience_database`` that of the
    database that exports read, the primary or a replica. They are separate
    pools even for the same server, so that a COPY never takes the connection
    that renews a lease. Under ``seller_locks`` one seller's requests are
    decided in turn, so that they hold one connection and not the whole pool.
    """

    settings: Settings
    database: Database
    audience_database: Database
    storage: ObjectStorage
    mailer: Mailer
    queue: ExportQueue
    export_events: ExportEvents
    links: LinkSigner
    attempt_cleaner: AttemptCleaner
    options_resolver: OptionsResolver
    audience_counts: SharedCounts
    seller_locks: KeyedLocks
    webhooks: WebhookSender
    metrics: Metrics
    shared_metrics: SharedMetricsCollector
    tracer: Tracer


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open all resources, and close them in reverse order.

    No dependency has to be up: the service starts while they are down.

    Raises:
        SettingsInvalid: a setting is invalid, a mail's template is broken, or mailed links would
            be presigned with credentials that expire before the links do.
    """
    mail_templates(settings.mail_templates_dir).check()
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(_open_tracer(settings))
        database = await stack.enter_async_context(
            open_database(settings.database_url, settings.database_pool_size)
        )
        audience_database = await stack.enter_async_context(
            open_database(
                settings.audience_database_url or settings.database_url,
                settings.audience_pool_size,
            )
        )
        metrics = Metrics()
        metrics.track_pool("primary", cast(QueuePool, database.engine.pool))
        metrics.track_pool("audience", cast(QueuePool, audience_database.engine.pool))
        await stack.enter_async_context(monitor_event_loop(metrics.loop_lag))
        storage: ObjectStorage = await stack.enter_async_context(open_storage(settings))
        if tracer is not NOOP_TRACER:
            storage = TracedStorage(storage, tracer)
        if settings.public_url is None and await uses_temporary_credentials():
            raise SettingsInvalid(
                "The S3 credentials are temporary, and presigned links expire with their "
                "credentials: set PUBLIC_URL and LINK_SECRET."
            )
        redis_info = await stack.enter_async_context(open_redis_info(settings.redis_url))
        shared_metrics = SharedMetricsCollector(
            {"database": partial(_read_database_metrics, database), "redis": redis_info.read}
        )
        metrics.registry.register(shared_metrics)
        yield Resources(
            settings=settings,
            database=database,
            audience_database=audience_database,
            storage=storage,
            mailer=await stack.enter_async_context(open_mailer(settings)),
            queue=await stack.enter_async_context(open_queue(settings)),
            export_events=await stack.enter_async_context(open_export_events(settings, metrics)),
            links=LinkSigner(settings.link_secrets, settings.public_url),
            attempt_cleaner=AttemptCleaner(database, audience_database, storage, settings),
            options_resolver=OptionsResolver(database),
            audience_counts=SharedCounts(audience_database, database),
            seller_locks=KeyedLocks(),
            webhooks=await stack.enter_async_context(open_webhooks(settings)),
            metrics=metrics,
            shared_metrics=shared_metrics,
            tracer=tracer,
        )


async def _read_database_metrics(database: Database) -> MetricValues:
    """Return the values of all metrics that are read from the database."""
    return {**await read_export_gauges(database), **await read_import_counters(database)}


def _open_tracer(settings: Settings) -> AbstractAsyncContextManager[Tracer]:
    """Return OpenTelemetry's tracer if tracing is on and installed, else the no-op tracer."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        return nullcontext(NOOP_TRACER)
    try:
        otel = import_module(OTEL)
    except ModuleNotFoundError as error:
        log.warning("traces not exported", missing=error.name, advice="install the extra otel")
        return nullcontext(NOOP_TRACER)
    tracer: AbstractAsyncContextManager[Tracer] = otel.open_tracer(endpoint)
    return tracer
