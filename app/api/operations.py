"""For those who run the service: is it alive, is it ready."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from app.api.dependencies import Opened
from app.api.documentation import problem_response
from app.api.problems import RETRY_AFTER_S, problem
from app.api.routes import PublicRoute
from app.readiness import in_words, reachable

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(route_class=PublicRoute, tags=["operations"])


class Health(BaseModel):
    """That the process answers."""

    status: str


class Readiness(Health):
    """That everything a request needs can be reached, one by one."""

    checks: dict[str, str]


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
    checks = await reachable(opened)
    missing = [name for name, found in checks.items() if not found]
    if missing:
        return problem(
            503,
            "Something is out of reach",
            "not_ready",
            f"Out of reach: {', '.join(missing)}.",
            {"Retry-After": str(RETRY_AFTER_S)},
            checks=in_words(checks),
        )
    return JSONResponse({"status": "ready", "checks": in_words(checks)}, headers=NO_STORE)


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
