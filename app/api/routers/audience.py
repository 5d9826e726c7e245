"""``GET /audience``: how many people a seller can reach."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import Reader, ResourcesDep
from app.api.openapi import error_responses
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.audience import AudienceResponse, SourceCount
from app.api.schemas.export_create import preferences
from app.api.schemas.fields import (
    JOINED_AFTER,
    JOINED_BEFORE,
    LANGUAGE_TAG,
    TIME_ZONE,
    Boundary,
    LanguageTag,
    SellerIdParameter,
    TimeZone,
)
from app.audience.options import RequestedOptions
from app.audience.period import Period
from app.audience.sources import SOURCES
from app.errors import (
    DatabaseUnavailable,
    Forbidden,
    InsufficientScope,
    RequestInvalid,
    TokenInvalid,
)

router = APIRouter(route_class=AuthenticatedRoute, tags=["audience"])


@router.get(
    "/audience",
    response_model=AudienceResponse,
    responses=error_responses(
        TokenInvalid, InsufficientScope, Forbidden, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_audience(
    principal: Reader,
    resources: ResourcesDep,
    seller_id: Annotated[
        SellerIdParameter | None,
        Query(description="Required unless the token is bound to a seller."),
    ] = None,
    joined_after: Annotated[Boundary | None, Query(description=JOINED_AFTER)] = None,
    joined_before: Annotated[Boundary | None, Query(description=JOINED_BEFORE)] = None,
    timezone: Annotated[TimeZone | None, Query(description=TIME_ZONE)] = None,
    locale: Annotated[LanguageTag | None, Query(description=LANGUAGE_TAG)] = None,
) -> AudienceResponse:
    """Return the number of members of each source, and of different addresses in all.

    With a period, a source counts those who joined it in the period, and the total those who
    joined their first source in it. Labels are in the language of `locale`.
    """
    seller = principal.seller(seller_id)
    if seller is None:
        raise RequestInvalid("seller_id", "Required: this token is not bound to a seller.")
    options = await resources.options_resolver.resolve(
        RequestedOptions(
            joined_after=joined_after,
            joined_before=joined_before,
            timezone=timezone,
            locale=locale,
        ),
        preferences(principal),
    )
    period = Period(options.joined_after, options.joined_before)
    counts = await resources.audience_counts.count(seller, period)
    sources = [
        SourceCount(
            key=source.key,
            label=source.label_in(options.locale),
            count=counts.by_source[source.key],
        )
        for source in SOURCES
    ]
    return AudienceResponse(sources=sources, total=counts.total)
