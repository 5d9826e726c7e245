"""The API: ``uvicorn app.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.connections import limit_connections
from app.api.middleware import HeadMiddleware, ResponseTimeoutMiddleware, StrictCORSMiddleware
from app.api.openapi import SERVERS, TAGS
from app.api.problems import add_exception_handlers
from app.api.routers import (
    audience,
    audience_events,
    audit,
    demo,
    documentation,
    downloads,
    export_actions,
    export_events,
    exports,
    health,
    statistics,
    widget,
)
from app.api.served_openapi import DatabaseAwareAPI
from app.api.shutdown import ShutdownSignal
from app.auth.tokens import TokenVerifier
from app.config import Settings, settings_from_environment
from app.errors import SettingsInvalid
from app.exports.batch_loader import open_export_loader
from app.exports.delivery.mail_templates import mail_templates
from app.observability.logs import configure_logs
from app.resources import open_resources

API_VERSION = "1"

DESCRIPTION = (
    "A seller, or a service for any seller, requests an export with `POST /exports` and gets the "
    "file's link by mail. Requests carry a signed JSON Web Token. Errors are problem documents "
    "(RFC 9457) with a stable `code`; times are RFC 3339, in UTC."
)

ROUTERS = (
    exports.router,
    export_actions.router,
    export_events.router,
    audit.router,
    downloads.guarded,
    downloads.public,
    audience.router,
    audience_events.router,
    health.router,
    statistics.router,
    widget.router,
    demo.router,
)

EXPOSED_HEADERS = ["ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID"]


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its lifespan opens and closes all resources."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.shutdown = ShutdownSignal()
        app.state.tokens = TokenVerifier(settings)
        async with (
            open_resources(settings) as app.state.resources,
            # Second, so that it is closed first: its reader uses the pool of the resources.
            open_export_loader(app.state.resources.database) as app.state.readings,
        ):
            with app.state.shutdown.on_signals():
                yield

    app = DatabaseAwareAPI(
        title="Audience export",
        version=API_VERSION,
        summary="Followers, customers and affiliates, merged into one clean CSV.",
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=SERVERS,
        openapi_tags=TAGS,
        lifespan=lifespan,
        openapi_url=documentation.OPENAPI_URL if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    add_exception_handlers(app)
    for router in (*ROUTERS, *((documentation.router,) if settings.docs_enabled else ())):
        app.include_router(router)
    # The last one added is the outermost: the timeout's 408 and 503 have CORS headers, too.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(ResponseTimeoutMiddleware)
    app.add_middleware(
        StrictCORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # monitoring scripts on the shop's pages add headers to every request
        expose_headers=EXPOSED_HEADERS,
    )
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def __getattr__(name: str) -> FastAPI:
    """Create ``app`` on first access, so that importing this module needs no settings."""
    if name != "app":
        raise AttributeError(name)
    settings = settings_from_environment()
    try:
        # Here too: in the lifespan, the error would end the process with a trace.
        mail_templates(settings.mail_templates_dir).check()
    except SettingsInvalid as error:
        raise SystemExit(f"Invalid settings:\n  {error}") from None
    limit_connections()
    configure_logs(settings.log_format, settings.log_level)
    return create_app(settings)
