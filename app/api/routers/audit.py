"""``GET /exports/{id}/audit``: the audit of an export, for operators."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from app.api.dependencies import Auditor, ExportId, ResourcesDep
from app.api.download_urls import PRIVATE
from app.api.openapi import error_responses
from app.api.pagination import CURSOR, decode_cursor, encode_cursor
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.fields import Instant, Whole
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    InsufficientScope,
    RequestInvalid,
    TokenInvalid,
)
from app.exports.audit import list_entries
from app.models import Action

PAGE_MAX = 100

router = APIRouter(route_class=AuthenticatedRoute, tags=["operations"])


class AuditEntry(BaseModel):
    """One action on an export."""

    action: Action
    at: Instant
    actor: str | None = Field(
        description="The token's `sub`, else its `email`; null for a mailed link."
    )
    recipient_email: str | None = Field(
        description="Null for a list that an operator wrote to a file."
    )
    client_address: str | None = Field(description="Erased (null) after 90 days.")
    user_agent: str | None = Field(description="Erased (null) after 90 days.")
    details: dict[str, Any]


class AuditPage(BaseModel):
    """One page of actions, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last page.")


@router.get(
    "/exports/{id}/audit",
    operation_id="get_export_audit",
    response_model=AuditPage,
    responses=error_responses(
        TokenInvalid, InsufficientScope, ExportNotFound, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_audit(
    _: Auditor,
    export_id: ExportId,
    resources: ResourcesDep,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX), Whole] = PAGE_MAX,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="The previous page's `next_cursor`.")
    ] = None,
) -> Response:
    """List who requested an export, who received, downloaded and erased it.

    Requires a token with `sellers:all` that is not bound to a seller. The audit
    remains when the export's own row has been deleted.
    """
    before = None if cursor is None else decode_cursor(cursor)
    entries = await list_entries(resources.database, export_id, limit=limit + 1, before=before)
    page_entries = entries[:limit]
    page = AuditPage(
        items=[AuditEntry.model_validate(entry, from_attributes=True) for entry in page_entries],
        next_cursor=encode_cursor(page_entries[-1].id) if len(entries) > limit else None,
    )
    return JSONResponse(page.model_dump(mode="json"), headers=PRIVATE)
