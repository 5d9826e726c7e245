"""Feeding over HTTP: source rows as events, for storefronts that are not on PostgreSQL."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.api.dependencies import Opened, caller
from app.api.documentation import documented, problem_response
from app.api.routes import KIB, GuardedRoute
from app.audience.sources import SOURCES, Source
from app.auth import AUDIENCE_WRITE, BIGINT_MAX, Principal
from app.errors import (
    DatabaseUnavailable,
    LinesInvalid,
    RecipientForbidden,
    ScopeMissing,
    TokenInvalid,
)
from app.feeds.columns import BOOLEAN, INSTANT, INTEGERS, SELLER, SourceColumn, fed_columns
from app.feeds.events import apply_events
from app.feeds.lines import read_lines
from app.feeds.staging import KEY_LENGTH_MAX

MEDIA_TYPE = "application/x-ndjson"
LINES_MAX = 10_000
BODY_BYTES_MAX = 8 * KIB * KIB


class EventsRoute(GuardedRoute):
    """A route that takes whole batches of events."""

    body_bytes_max = BODY_BYTES_MAX


router = APIRouter(route_class=EventsRoute, tags=["audience"])


async def feeder(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may write source rows."""
    principal.require(AUDIENCE_WRITE)
    return principal


class AppliedDocument(BaseModel):
    """What became of the lines."""

    applied: int
    ignored: int = Field(description="Their version was not above the one known: late or repeated.")


def _type(column: SourceColumn) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "string"}
    if column.type == BOOLEAN:
        kind = {"type": "boolean"}
    elif column.type in INTEGERS:
        kind = {"type": "integer"}
    elif column.type == INSTANT:
        kind = {"type": "string", "format": "date-time"}
    return {"anyOf": [kind, {"type": "null"}]} if column.is_nullable else kind


def _event(source: Source) -> dict[str, Any]:
    columns = [each for each in fed_columns(source).values() if each.name != SELLER]
    row = {
        "type": "object",
        "description": "The whole row: a column that is not named takes its default.",
        "properties": {column.name: _type(column) for column in columns},
        "required": [column.name for column in columns if column.is_required],
        "additionalProperties": False,
    }
    return {
        "title": source.label,
        "type": "object",
        "properties": {
            "source": {"const": source.key},
            "key": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX},
            "version": {"type": "integer", "minimum": -BIGINT_MAX - 1, "maximum": BIGINT_MAX},
            "seller_id": {"type": "integer", "minimum": 1, "maximum": BIGINT_MAX},
            "row": row,
            "deleted": {"const": True},
        },
        "required": ["source", "key", "version", "seller_id"],
        "oneOf": [{"required": ["row"]}, {"required": ["deleted"]}],
        "additionalProperties": False,
    }


BODY = {
    "required": True,
    "description": f"JSON lines (NDJSON), each an item of this array; {LINES_MAX} at most.",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "array",
                "items": {"anyOf": [_event(source) for source in SOURCES]},
            },
            "example": [
                {
                    "source": "follower",
                    "key": "f-1",
                    "version": 17,
                    "seller_id": 1,
                    "row": {
                        "email": "ann@example.com",
                        "created_at": "2025-03-01T10:00:00Z",
                        "confirmed_at": "2025-03-01T10:05:00Z",
                    },
                },
                {"source": "customer", "key": "o-9", "version": 2, "seller_id": 1, "deleted": True},
            ],
        }
    },
}


@router.post(
    "/audience/events",
    response_model=AppliedDocument,
    openapi_extra={"requestBody": BODY},
    responses=problem_response(413, "The body is too large")
    | problem_response(415, "The body is of another kind")
    | documented(TokenInvalid, ScopeMissing, RecipientForbidden, LinesInvalid, DatabaseUnavailable),
)
async def post_audience_events(
    request: Request, principal: Annotated[Principal, Depends(feeder)], opened: Opened
) -> AppliedDocument:
    """Write and delete source rows by the storefront's own keys: all lines or none.

    Lines apply in their order. One whose version is not above the version
    known of its key is ignored, so that late and repeated events do no harm.
    """
    _check_kind(request)
    lines = await asyncio.to_thread(read_lines, await request.body())
    for seller_id in lines.sellers:
        principal.seller(seller_id)
    if lines.count > LINES_MAX:
        raise HTTPException(413, f"At most {LINES_MAX} lines are taken at once")
    counted = opened.metrics.events_lines
    try:
        applied = await apply_events(opened.engine, lines)
    except LinesInvalid:
        counted.labels("rejected").inc(lines.count)
        raise
    counted.labels("applied").inc(applied.applied)
    counted.labels("ignored").inc(applied.ignored)
    return AppliedDocument(applied=applied.applied, ignored=applied.ignored)


def _check_kind(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise HTTPException(415, f"Send Content-Type: {MEDIA_TYPE}")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HTTPException(415, "Send the lines as they are, without a Content-Encoding")
