"""The statistics, for those who run the service."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from app.api.dependencies import Opened, Operator
from app.api.documentation import documented
from app.api.routes import GuardedRoute
from app.api.statistics import StatisticsDocument
from app.errors import DatabaseUnavailable, RequestInvalid, ScopeMissing, TokenInvalid
from app.exports.statistics import read_statistics

DAYS_MAX = 3650

router = APIRouter(route_class=GuardedRoute, tags=["operations"])


@router.get(
    "/stats",
    response_model=StatisticsDocument,
    responses=documented(TokenInvalid, ScopeMissing, RequestInvalid, DatabaseUnavailable),
)
async def get_stats(
    _: Operator,
    opened: Opened,
    days: Annotated[int, Query(ge=1, le=DAYS_MAX, description="Today and so many before.")] = 30,
) -> Response:
    """Say how many exports were asked for, what became of them, and how long they took.

    Days are UTC's; an export belongs to the day it was asked for. Rows are
    kept 30 days after their end, these numbers longer.
    """
    statistics = await read_statistics(opened.engine, days)
    document = StatisticsDocument.of(statistics)
    return JSONResponse(document.model_dump(mode="json"))
