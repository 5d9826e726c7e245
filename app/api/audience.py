"""The audience: how many people a seller can reach."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import Opened, Reader
from app.api.documentation import documented
from app.api.routes import GuardedRoute
from app.api.schemas import AudienceDocument, SellerIdParameter, SourceCount
from app.audience.counts import count_on
from app.audience.sources import SOURCES
from app.audience.standby import read_audience
from app.errors import (
    DatabaseUnavailable,
    RecipientForbidden,
    RequestInvalid,
    ScopeMissing,
    TokenInvalid,
)

router = APIRouter(route_class=GuardedRoute, tags=["audience"])


@router.get(
    "/audience",
    response_model=AudienceDocument,
    responses=documented(
        TokenInvalid, ScopeMissing, RecipientForbidden, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_audience(
    caller: Reader,
    opened: Opened,
    seller_id: Annotated[
        SellerIdParameter | None, Query(description="Needed where the token names no seller.")
    ] = None,
) -> AudienceDocument:
    """Count the members of each source, and all of them once."""
    seller = caller.seller(seller_id)
    if seller is None:
        raise RequestInvalid("seller_id", "Name the seller: this token speaks for all.")
    counted = await read_audience(
        opened.audience_engine, opened.engine, partial(count_on, seller_id=seller)
    )
    sources = [
        SourceCount(key=source.key, label=source.label, count=counted.by_source[source.key])
        for source in SOURCES
    ]
    return AudienceDocument(sources=sources, total=counted.total)
