"""``POST /audience/events``: source rows as events, for storefronts without PostgreSQL."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.api.dependencies import Bearer, ResourcesDep, verified_principal
from app.api.openapi import error_responses, problem_response
from app.api.route_classes import KIB, AuthenticatedRoute
from app.api.schemas.audience_events import EXAMPLE_LINES
from app.auth.principal import AUDIENCE_WRITE, Principal
from app.errors import (
    DatabaseUnavailable,
    Forbidden,
    InsufficientScope,
    InvalidLines,
    TokenInvalid,
)
from app.feeds.columns import read_tables
from app.feeds.events import apply_events
from app.feeds.ndjson import has_more_lines, parse_events

MEDIA_TYPE = "application/x-ndjson"
LINES_MAX = 10_000
BODY_BYTES_MAX = 8 * KIB * KIB


class LargeBodyRoute(AuthenticatedRoute):
    """A route for batches of events, with a larger body limit."""

    body_bytes_max = BODY_BYTES_MAX


router = APIRouter(route_class=LargeBodyRoute, tags=["audience"])


async def audience_writer(request: Request, _: Bearer) -> Principal:
    """Return the caller; requires ``audience:write``."""
    principal = verified_principal(request)
    principal.require(AUDIENCE_WRITE)
    return principal


class EventsResult(BaseModel):
    """How many lines were applied and ignored."""

    applied: int
    ignored: int = Field(
        description="Lines whose version was not above the stored one: late or repeated."
    )
    unusable_addresses: int = Field(
        description="Rows whose address can never be listed; they are stored all the same."
    )


EVENTS_BODY = {
    "required": True,
    "description": f"Lines of JSON (NDJSON), {LINES_MAX:,} of them or 8 MiB at most, each an "
    "`AudienceEvent`.",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "string",
                "contentMediaType": MEDIA_TYPE,
                "contentSchema": {"$ref": "#/components/schemas/AudienceEvent"},
            },
            "example": EXAMPLE_LINES,
        }
    },
}
"""The OpenAPI request body: text, whose lines ``contentSchema`` describes."""


@router.post(
    "/audience/events",
    operation_id="send_audience_events",
    response_model=EventsResult,
    openapi_extra={"requestBody": EVENTS_BODY},
    responses=problem_response(413, "The body is too large")
    | problem_response(415, "The media type is not supported")
    | error_responses(
        TokenInvalid, InsufficientScope, Forbidden, InvalidLines, DatabaseUnavailable
    ),
)
async def post_audience_events(
    request: Request,
    principal: Annotated[Principal, Depends(audience_writer)],
    resources: ResourcesDep,
) -> EventsResult:
    """Upsert and delete source rows by the storefront's own keys: all lines or none.

    Lines apply in order. A line whose version is not above the stored version of
    its key is ignored, so late and repeated events do no harm.
    """
    _check_media_type(request)
    body = await request.body()
    # Before parsing: many short lines take far more memory as objects than as a body.
    if await asyncio.to_thread(has_more_lines, body, LINES_MAX):
        raise HTTPException(413, f"Send at most {LINES_MAX} lines at once")
    tables = await read_tables(resources.database)
    lines = await asyncio.to_thread(parse_events, body, tables)
    for seller_id in lines.sellers:
        # For its Forbidden: a seller's token must not write rows of another seller.
        principal.seller(seller_id)
    counter = resources.metrics.events_lines
    try:
        applied = await apply_events(resources.database, lines)
    except InvalidLines:
        counter.labels("rejected").inc(lines.count)
        raise
    counter.labels("applied").inc(applied.applied)
    counter.labels("ignored").inc(applied.ignored)
    return EventsResult(
        applied=applied.applied,
        ignored=applied.ignored,
        unusable_addresses=applied.unusable_addresses,
    )


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise HTTPException(415, f"Send Content-Type: {MEDIA_TYPE}")
