"""The statistics, for those who run the service."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse

from app.api.dependencies import Opened, Operator
from app.api.documentation import Responses, documented
from app.api.routes import GuardedRoute
from app.api.schemas import Whole
from app.api.statistics import StatisticsDocument
from app.errors import DatabaseUnavailable, RequestInvalid, ScopeMissing, TokenInvalid
from app.exports.statistics import DAYS_MAX, read_statistics
from app.report.page import POLICY, statistics_page

VARY = {"Vary": "Accept"}

WEIGHT = re.compile(r"[01](\.\d{0,3})?")

PAGE: Responses = {
    200: {
        "description": "The numbers, or with `Accept: text/html` a page of plots",
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
}

router = APIRouter(route_class=GuardedRoute, tags=["operations"])


@router.get(
    "/stats",
    response_model=StatisticsDocument,
    responses=PAGE | documented(TokenInvalid, ScopeMissing, RequestInvalid, DatabaseUnavailable),
)
async def get_stats(
    _: Operator,
    opened: Opened,
    days: Annotated[
        int, Query(ge=1, le=DAYS_MAX, description="Today and so many before."), Whole
    ] = 30,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Say how many exports were asked for, what became of them, and how long they took.

    Days are UTC's; an export belongs to the day it was asked for. Rows are
    kept 30 days after their end, these numbers longer.
    """
    statistics = await read_statistics(opened.engine, days)
    if prefers_page(accept):
        page = statistics_page(statistics, datetime.now(UTC), is_served=True)
        return HTMLResponse(page, headers={**VARY, "Content-Security-Policy": POLICY})
    document = StatisticsDocument.of(statistics)
    return JSONResponse(document.model_dump(mode="json"), headers=VARY)


def prefers_page(accept: str) -> bool:
    """Return whether an ``Accept`` header wants HTML no less than JSON (RFC 9110, 12.5.1).

    Whoever names neither is a program and gets JSON.
    """
    weights = dict(map(_weighed, accept.lower().split(",")))
    page = weights.get("text/html", 0.0)
    return page > 0 and page >= weights.get("application/json", 0.0)


def _weighed(part: str) -> tuple[str, float]:
    kind, *parameters = (each.strip() for each in part.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return kind, float(weight) if WEIGHT.fullmatch(weight) else 0.0
