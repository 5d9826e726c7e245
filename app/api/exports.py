"""Exports: ask for one, follow it, list them."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response

from app.api.answers import export_answer, export_document
from app.api.dependencies import (
    CURSOR,
    Ending,
    ExportId,
    From,
    Opened,
    Reader,
    Writer,
    cursor_of,
    export_after,
)
from app.api.documentation import (
    ENTITY_HEADERS,
    LOCATED_HEADERS,
    Responses,
    documented,
    problem_response,
)
from app.api.downloads import PRIVATE
from app.api.routes import GuardedRoute
from app.api.schemas import (
    ExportDocument,
    ExportPage,
    Number,
    SellerIdParameter,
    Status,
    Whole,
)
from app.api.wishes import ExportBody, export_request
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    KeyReused,
    QueueFull,
    QuotaExceeded,
    RecipientForbidden,
    RequestInvalid,
    ScopeMissing,
    TokenInvalid,
)
from app.exports.queries import find_export, list_exports, wait_until_finished
from app.exports.requests import request_export
from app.exports.telling import ring

WAIT_MAX_S = 30
PAGE_MAX = 100

LINKS = {
    operation: {"operationId": operation, "parameters": {"id": "$response.body#/id"}}
    for operation in ("get_export", "get_events", "get_download", "post_email", "delete")
}
"""What an answer leads to (OpenAPI 3.1, Link Object)."""

CREATED: Responses = {
    200: {
        "model": ExportDocument,
        "description": "The export there is already",
        "headers": LOCATED_HEADERS,
        "links": LINKS,
    },
    202: {"description": "The new export", "headers": LOCATED_HEADERS, "links": LINKS},
}

READ: Responses = {
    200: {"description": "The export", "headers": ENTITY_HEADERS},
    304: {"description": "It is as `If-None-Match` says"},
}

router = APIRouter(route_class=GuardedRoute, tags=["exports"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Yours to choose; the same key makes the same request once, for 24 hours.",
    ),
]


@router.post(
    "/exports",
    status_code=202,
    response_model=ExportDocument,
    responses=CREATED
    | problem_response(413, "The body is too large")
    | documented(
        TokenInvalid,
        ScopeMissing,
        RecipientForbidden,
        RequestInvalid,
        KeyReused,
        QuotaExceeded,
        QueueFull,
        DatabaseUnavailable,
    ),
)
async def post_export(
    body: ExportBody,
    caller: Writer,
    opened: Opened,
    origin: From,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for an export; when it is ready, its recipient gets a mail with a link.

    An identical request that still waits, or a repeated `Idempotency-Key`,
    is answered with the export there is.
    """
    requested = await request_export(
        opened.engine,
        opened.audience_engine,
        opened.settings,
        export_request(body, caller),
        idempotency_key,
        origin,
    )
    if requested.is_new:
        opened.metrics.exports_requested.inc()
        await ring(opened.queue, requested.export)
    answer = await export_answer(opened, requested.export, 202 if requested.is_new else 200)
    answer.headers["Location"] = f"/exports/{requested.export.id}"
    return answer


@router.get(
    "/exports",
    response_model=ExportPage,
    responses=documented(
        TokenInvalid, ScopeMissing, RecipientForbidden, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_exports(
    caller: Reader,
    opened: Opened,
    status: Annotated[Status | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX), Whole] = 20,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="The page before's `next_cursor`.")
    ] = None,
    seller_id: Annotated[SellerIdParameter | None, Query(description="With `sellers:all`.")] = None,
) -> Response:
    """List exports, newest first."""
    found = await list_exports(
        opened.engine,
        seller_id=caller.seller(seller_id),
        status=status,
        limit=limit + 1,
        before=None if cursor is None else export_after(cursor),
    )
    shown = found[:limit]
    next_cursor = cursor_of(shown[-1].id) if len(found) > limit else None
    items = [await export_document(opened, export) for export in shown]
    return JSONResponse({"items": items, "next_cursor": next_cursor}, headers=PRIVATE)


@router.get(
    "/exports/{id}",
    response_model=ExportDocument,
    responses=READ
    | documented(TokenInvalid, ScopeMissing, ExportNotFound, RequestInvalid, DatabaseUnavailable),
)
async def get_export(
    export_id: ExportId,
    caller: Reader,
    opened: Opened,
    ending: Ending,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_MAX_S, description="Seconds to wait for its end."), Number
    ] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Read an export; with `wait`, the answer comes as soon as it is finished."""
    export = await find_export(opened.engine, export_id, caller.seller_id)
    if export.is_active and wait > 0:
        finished = wait_until_finished(opened.engine, opened.news, export, wait)
        export = await ending.unless_begun(finished, otherwise=export)
    return await export_answer(opened, export, 200, if_none_match)
