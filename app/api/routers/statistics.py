"""``GET /stats``: statistics for operators, as JSON or a page."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse

from app.api.accept import prefers_html
from app.api.dependencies import Operator, ResourcesDep
from app.api.openapi import Responses, error_responses
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.fields import Whole
from app.errors import DatabaseUnavailable, InsufficientScope, RequestInvalid, TokenInvalid
from app.report.document import StatisticsResponse
from app.report.page import POLICY, statistics_page
from app.statistics.queries import DAYS_MAX, read_statistics

VARY = {"Vary": "Accept"}

PAGE: Responses = {
    200: {
        "description": "The numbers, or with `Accept: text/html` a page of plots",
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
}

router = APIRouter(route_class=AuthenticatedRoute, tags=["operations"])


@router.get(
    "/stats",
    operation_id="get_statistics",
    response_model=StatisticsResponse,
    responses=PAGE
    | error_responses(TokenInvalid, InsufficientScope, RequestInvalid, DatabaseUnavailable),
)
async def get_stats(
    _: Operator,
    resources: ResourcesDep,
    days: Annotated[
        int, Query(ge=1, le=DAYS_MAX, description="Today and this many days before."), Whole
    ] = 30,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Return how many exports were requested, how they ended and how long they took.

    Days are in UTC; an export counts on the day of its request. The numbers
    remain when an export's row is deleted, 30 days after its end.
    """
    is_page = prefers_html(accept)
    statistics = await read_statistics(resources.database, days, is_compared=is_page)
    if is_page:
        page = statistics_page(statistics, datetime.now(UTC), is_served=True)
        return HTMLResponse(page, headers={**VARY, "Content-Security-Policy": POLICY})
    document = StatisticsResponse.of(statistics)
    return JSONResponse(document.model_dump(mode="json"), headers=VARY)
