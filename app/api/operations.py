"""For those who run the service: is it alive, is it ready."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.dependencies import Opened
from app.api.documentation import Service, problem_response
from app.api.edge import HeadAsGet
from app.api.problems import RETRY_AFTER_S, add_handlers, problem
from app.api.routes import PublicRoute
from app.database import transaction
from app.errors import ServiceError
from app.resources import Resources

CHECK_TIMEOUT_S = 2.0
NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(route_class=PublicRoute, tags=["operations"])


class Health(BaseModel):
    """That the process answers."""

    status: str


class Readiness(Health):
    """That everything a request needs can be reached, one by one."""

    checks: dict[str, str]


def create_operations_app(resources: Resources) -> FastAPI:
    """Return an application of these endpoints alone, for a process that is no API."""
    app = Service(openapi_url=None, redirect_slashes=False)
    app.state.resources = resources
    add_handlers(app)
    app.include_router(router)
    app.add_middleware(HeadAsGet)
    return app


@router.get("/healthz", response_model=Health)
async def get_health() -> Response:
    """Answer, whatever the state of everything else."""
    return JSONResponse({"status": "alive"}, headers=NO_STORE)


@router.get(
    "/readyz",
    response_model=Readiness,
    responses=problem_response(503, "Something is out of reach"),
)
async def get_readiness(opened: Opened) -> Response:
    """Say whether database, queue and bucket can be reached."""
    needed = {
        "database": _database(opened.engine),
        "queue": opened.queue.check(),
        "bucket": opened.storage.check(),
    }
    results = await asyncio.gather(*map(_is_reachable, needed.values()))
    checks = {
        name: "reachable" if reached else "unreachable"
        for name, reached in zip(needed, results, strict=True)
    }
    missing = [name for name, reached in zip(needed, results, strict=True) if not reached]
    if missing:
        return problem(
            503,
            "Something is out of reach",
            "not_ready",
            f"Out of reach: {', '.join(missing)}.",
            {"Retry-After": str(RETRY_AFTER_S)},
            checks=checks,
        )
    return JSONResponse({"status": "ready", "checks": checks}, headers=NO_STORE)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus' text format, or OpenMetrics where asked for"}},
)
async def get_metrics(request: Request, opened: Opened) -> Response:
    """Return what this process has counted, and what all processes share, for Prometheus."""
    await opened.facts.refresh()
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    headers = {**NO_STORE, "Content-Type": media_type}
    return Response(encode(opened.metrics.registry), headers=headers)


async def _database(engine: AsyncEngine) -> None:
    async with transaction(engine) as connection:
        await connection.execute(text("SELECT 1"))


async def _is_reachable(check: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except (ServiceError, SQLAlchemyError, OSError):
        return False
    return True
