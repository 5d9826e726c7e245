"""The only wiring: settings in, everything the API, the worker and the CLI need out."""

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
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from app.adapters.news import open_news
from app.adapters.queue import open_queue
from app.adapters.redis import open_redis_state
from app.adapters.s3 import open_storage
from app.adapters.s3_client import uses_temporary_credentials
from app.adapters.smtp import open_mailer
from app.adapters.traced import TracedStorage
from app.adapters.webhooks import open_webhooks
from app.auth import TokenVerifier
from app.config import Settings
from app.database import create_engine
from app.errors import SettingsInvalid
from app.exports.facts import read_export_facts
from app.exports.links import Links
from app.exports.residue import Residue
from app.facts import SharedFacts
from app.feeds.totals import read_import_facts
from app.lag import watched_loop
from app.metrics import Facts, Metrics
from app.ports import ExportNews, ExportQueue, Mailer, ObjectStorage, WebhookCaller
from app.tracing import UNTRACED, Tracer

log = structlog.get_logger()

OTEL = "app.adapters.otel"
"""Imported only where traces are wanted: it needs the extra ``otel``."""


@dataclass(frozen=True)
class Resources:
    """Open connections to everything outside, and what is made of the settings.

    ``engine`` is the primary, ``audience_engine`` where exports read. They are
    pools of their own also where they lead to the same server, so that a COPY
    never takes the connection that a lease is to be renewed with.
    """

    settings: Settings
    engine: AsyncEngine
    audience_engine: AsyncEngine
    storage: ObjectStorage
    mailer: Mailer
    queue: ExportQueue
    news: ExportNews
    links: Links
    residue: Residue
    tokens: TokenVerifier
    webhooks: WebhookCaller
    metrics: Metrics
    facts: SharedFacts
    tracer: Tracer


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything and close it in reverse order.

    Nothing needs to answer yet: the service starts while its dependencies
    are down.

    Raises:
        SettingsInvalid: mailed links would be presigned with credentials that
            end before the links do.
    """
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(_open_tracer(settings))
        engine = create_engine(settings.database_url, settings.database_pool_size)
        stack.push_async_callback(engine.dispose)
        audience_engine = create_engine(
            settings.audience_database_url or settings.database_url,
            settings.worker_concurrency * settings.export_streams,
        )
        stack.push_async_callback(audience_engine.dispose)
        metrics = Metrics()
        metrics.watch_pool("primary", cast(QueuePool, engine.pool))
        metrics.watch_pool("audience", cast(QueuePool, audience_engine.pool))
        await stack.enter_async_context(watched_loop(metrics.loop_lag))
        storage: ObjectStorage = await stack.enter_async_context(open_storage(settings))
        if tracer is not UNTRACED:
            storage = TracedStorage(storage, tracer)
        if settings.public_url is None and await uses_temporary_credentials():
            raise SettingsInvalid(
                "The S3 credentials are temporary, and links presigned with them would end "
                "with them: set PUBLIC_URL and LINK_SECRET."
            )
        redis_state = await stack.enter_async_context(open_redis_state(settings.redis_url))
        facts = SharedFacts({"database": partial(_read_facts, engine), "redis": redis_state.read})
        metrics.registry.register(facts)
        yield Resources(
            settings=settings,
            engine=engine,
            audience_engine=audience_engine,
            storage=storage,
            mailer=await stack.enter_async_context(open_mailer(settings)),
            queue=await stack.enter_async_context(open_queue(settings)),
            news=await stack.enter_async_context(open_news(settings)),
            links=Links(settings.link_secrets, settings.public_url),
            residue=Residue(engine, audience_engine, storage, settings),
            tokens=TokenVerifier(settings),
            webhooks=await stack.enter_async_context(open_webhooks(settings)),
            metrics=metrics,
            facts=facts,
            tracer=tracer,
        )


async def _read_facts(engine: AsyncEngine) -> Facts:
    """Return all that the database tells Prometheus."""
    return {**await read_export_facts(engine), **await read_import_facts(engine)}


def _open_tracer(settings: Settings) -> AbstractAsyncContextManager[Tracer]:
    """Return what measures steps: OpenTelemetry where traces are wanted and it is installed."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        return nullcontext(UNTRACED)
    try:
        otel = import_module(OTEL)
    except ModuleNotFoundError as error:
        log.warning("traces not exported", missing=error.name, advice="install the extra otel")
        return nullcontext(UNTRACED)
    opened: AbstractAsyncContextManager[Tracer] = otel.open_tracer(endpoint)
    return opened
