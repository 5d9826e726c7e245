"""The API: ``uvicorn app.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api import (
    audience,
    audit,
    demo,
    downloads,
    endings,
    events,
    exports,
    feeds,
    operations,
    stats,
    web,
)
from app.api.documentation import Service
from app.api.edge import AnswerTimeout, HeadAsGet, Origins
from app.api.problems import add_handlers
from app.api.shutdown import Shutdown
from app.config import Settings, settings_from_environment
from app.exports.readings import open_readings
from app.logs import configure_logs
from app.resources import open_resources

API_VERSION = "1"

ROUTERS = (
    exports.router,
    endings.router,
    events.router,
    audit.router,
    downloads.guarded,
    downloads.public,
    audience.router,
    feeds.router,
    operations.router,
    stats.router,
    web.router,
    demo.router,
)

EXPOSED_HEADERS = ["ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID"]
ACCEPTED_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "traceparent",
    "X-Request-ID",
]


def create_app(settings: Settings) -> FastAPI:
    """Return the application; everything it uses is opened when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.shutdown = Shutdown()
        async with (
            open_resources(settings) as app.state.resources,
            open_readings(app.state.resources.engine) as app.state.readings,
        ):
            with app.state.shutdown.on_signals():
                yield

    app = Service(
        title="Audience export",
        version=API_VERSION,
        summary="Followers, customers and affiliates, merged into one clean CSV.",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(HeadAsGet)
    app.add_middleware(AnswerTimeout)
    app.add_middleware(
        Origins,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=ACCEPTED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
    )
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def __getattr__(name: str) -> FastAPI:
    """Make ``app`` when it is asked for, so that this module imports without settings."""
    if name != "app":
        raise AttributeError(name)
    settings = settings_from_environment()
    configure_logs(settings.log_format, settings.log_level)
    return create_app(settings)
