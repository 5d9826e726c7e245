"""``/healthz``, ``/readyz`` and ``/metrics``, for operators."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from app.api.dependencies import ResourcesDep
from app.api.openapi import problem_response
from app.api.problems import RETRY_AFTER_S, problem
from app.api.route_classes import LimitedBodyRoute
from app.readiness import as_status, check_dependencies

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(route_class=LimitedBodyRoute, tags=["operations"])


class Health(BaseModel):
    """The state of the process."""

    status: str


class Readiness(Health):
    """The state of the process and of each dependency."""

    checks: dict[str, str]


@router.get("/healthz", response_model=Health)
async def get_health() -> Response:
    """Return 200 while the process runs, even when every dependency is down."""
    return JSONResponse({"status": "alive"}, headers=NO_STORE)


@router.get(
    "/readyz",
    response_model=Readiness,
    responses=problem_response(503, "A dependency is unavailable"),
)
async def get_readiness(resources: ResourcesDep) -> Response:
    """Return whether the database, the queue and the bucket can be reached."""
    checks = await check_dependencies(resources)
    unavailable = [name for name, is_available in checks.items() if not is_available]
    if unavailable:
        return problem(
            503,
            "A dependency is unavailable",
            "not_ready",
            f"Unavailable: {', '.join(unavailable)}.",
            {"Retry-After": str(RETRY_AFTER_S)},
            checks=as_status(checks),
        )
    return JSONResponse({"status": "ready", "checks": as_status(checks)}, headers=NO_STORE)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "Prometheus' text format, or OpenMetrics with that `Accept` header"}
    },
)
async def get_metrics(request: Request, resources: ResourcesDep) -> Response:
    """Return the metrics of this process, and those that all processes share."""
    # Before encoding, which cannot await: the collector returns what was read here.
    await resources.shared_metrics.refresh()
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    headers = {**NO_STORE, "Content-Type": media_type}
    return Response(encode(resources.metrics.registry), headers=headers)
