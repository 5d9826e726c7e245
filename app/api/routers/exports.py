"""``/exports``: create, read and list exports."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from app.api import dependencies
from app.api.dependencies import (
    AuditContextDep,
    ExportId,
    Reader,
    ResourcesDep,
    Writer,
    external_path,
)
from app.api.download_urls import PRIVATE
from app.api.openapi import (
    ENTITY_HEADERS,
    LOCATED_HEADERS,
    Responses,
    error_responses,
    problem_response,
)
from app.api.pagination import CURSOR, decode_cursor, encode_cursor
from app.api.responses import export_json, export_response
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.export_create import ExportCreate, to_export_request
from app.api.schemas.exports import ExportPage, ExportResponse
from app.api.schemas.fields import Number, SellerIdParameter, Status, Whole
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    Forbidden,
    IdempotencyKeyReused,
    InsufficientScope,
    QueueFull,
    QuotaExceeded,
    RequestInvalid,
    TokenInvalid,
)
from app.exports.notifications import enqueue_export
from app.exports.queries import find_export, list_exports, wait_until_finished
from app.exports.submission.submit import submit_export

WAIT_MAX_S = 30
PAGE_MAX = 100

OPERATIONS = (
    "get_export",
    "stream_export_events",
    "download_export",
    "resend_export_email",
    "delete_export",
)

LINKS = {
    operation: {"operationId": operation, "parameters": {"id": "$response.body#/id"}}
    for operation in OPERATIONS
}
"""The operations that accept the new export's id (OpenAPI 3.1, Link Object)."""

CREATED: Responses = {
    200: {
        "model": ExportResponse,
        "description": "The existing export",
        "headers": LOCATED_HEADERS,
        "links": LINKS,
    },
    202: {"description": "The new export", "headers": LOCATED_HEADERS, "links": LINKS},
}

READ: Responses = {
    200: {"description": "The export", "headers": ENTITY_HEADERS},
    304: {"description": "The export has not changed: its `ETag` is in `If-None-Match`"},
}

router = APIRouter(route_class=AuthenticatedRoute, tags=["exports"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Any string; for 24 hours, repeating it creates no second export.",
    ),
]


@router.post(
    "/exports",
    operation_id="create_export",
    status_code=202,
    response_model=ExportResponse,
    responses=CREATED
    | problem_response(413, "The body is too large")
    | problem_response(415, "The media type is not supported")
    | error_responses(
        TokenInvalid,
        InsufficientScope,
        Forbidden,
        RequestInvalid,
        IdempotencyKeyReused,
        QuotaExceeded,
        QueueFull,
        DatabaseUnavailable,
    ),
)
async def post_export(
    request: Request,
    body: ExportCreate,
    principal: Writer,
    resources: ResourcesDep,
    audit_context: AuditContextDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create an export; when it is ready, its recipient gets a mail with a link.

    A repeated `Idempotency-Key`, or a request identical to one that has not
    started to read yet, returns the existing export.
    """
    result = await submit_export(
        resources.database,
        resources.audience_database,
        resources.settings,
        await to_export_request(body, principal, resources.options_resolver),
        idempotency_key,
        audit_context,
        resources.seller_locks,
    )
    if result.is_new:
        resources.metrics.exports_requested.inc()
        # submit_export has committed: before that, a worker that wakes up finds no row.
        await enqueue_export(resources.queue, result.export)
    response = await export_response(
        resources, result.export, audit_context, 202 if result.is_new else 200
    )
    response.headers["Location"] = external_path(request, f"/exports/{result.export.id}")
    return response


@router.get(
    "/exports",
    operation_id="list_exports",
    response_model=ExportPage,
    responses=error_responses(
        TokenInvalid, InsufficientScope, Forbidden, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_exports(
    principal: Reader,
    resources: ResourcesDep,
    audit_context: AuditContextDep,
    status: Annotated[Status | None, Query(description="Only exports with this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX), Whole] = 20,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="The previous page's `next_cursor`.")
    ] = None,
    seller_id: Annotated[
        SellerIdParameter | None,
        Query(description="Only this seller's; for tokens with `sellers:all`."),
    ] = None,
) -> Response:
    """List exports, newest first."""
    exports = await list_exports(
        resources.database,
        seller_id=principal.seller(seller_id),
        status=status,
        limit=limit + 1,
        before=None if cursor is None else decode_cursor(cursor),
    )
    page = exports[:limit]
    next_cursor = encode_cursor(page[-1].id) if len(exports) > limit else None
    # One after the other: each may write to the audit, on a connection of the pool.
    items = [await export_json(resources, export, audit_context) for export in page]
    return JSONResponse({"items": items, "next_cursor": next_cursor}, headers=PRIVATE)


@router.get(
    "/exports/{id}",
    response_model=ExportResponse,
    responses=READ
    | error_responses(
        TokenInvalid, InsufficientScope, ExportNotFound, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_export(
    request: Request,
    export_id: ExportId,
    principal: Reader,
    wait: Annotated[
        float,
        Query(ge=0, le=WAIT_MAX_S, description="Seconds to wait for the export to end."),
        Number,
    ] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return an export; with `wait`, as soon as it has ended or the time is over."""
    # Not injected: services poll this, and each dependency takes a thirtieth of its time.
    resources = await dependencies.resources(request)
    export = await find_export(resources.database, export_id, principal.seller_id)
    if export.is_active and wait > 0:
        finished = wait_until_finished(resources.database, resources.export_events, export, wait)
        shutdown = await dependencies.shutdown(request)
        export = await shutdown.run_or_abort(finished, otherwise=export)
    caller = await dependencies.audit_context(request)
    return await export_response(resources, export, caller, 200, if_none_match)
