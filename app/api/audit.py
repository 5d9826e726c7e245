"""The audit, for those who run the service."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from app.api.dependencies import CURSOR, Auditor, ExportId, Opened, cursor_of, export_after
from app.api.documentation import documented
from app.api.downloads import PRIVATE
from app.api.routes import GuardedRoute
from app.api.schemas import Instant, Whole
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    RequestInvalid,
    ScopeMissing,
    TokenInvalid,
)
from app.exports.audit import list_entries
from app.models import Action

PAGE_MAX = 100

router = APIRouter(route_class=GuardedRoute, tags=["operations"])


class AuditEntry(BaseModel):
    """One thing that was done to an export."""

    action: Action
    at: Instant
    actor: str | None = Field(description="The token's subject, or its address; null for links.")
    recipient_email: str | None = Field(description="Null for a list copied by an operator.")
    client_address: str | None = Field(description="Null after 90 days.")
    user_agent: str | None = Field(description="Null after 90 days.")
    details: dict[str, Any]


class AuditPage(BaseModel):
    """Some of what was done to an export, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last page.")


@router.get(
    "/exports/{id}/audit",
    response_model=AuditPage,
    responses=documented(
        TokenInvalid, ScopeMissing, ExportNotFound, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_audit(
    _: Auditor,
    export_id: ExportId,
    opened: Opened,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX), Whole] = PAGE_MAX,
    cursor: Annotated[
        str | None, Query(pattern=CURSOR, description="The page before's `next_cursor`.")
    ] = None,
) -> Response:
    """Say who asked for an export, to whom it went, who opened it and who erased it.

    Needs a token with `sellers:all` that names no seller. The audit is kept
    when the export itself is forgotten.
    """
    before = None if cursor is None else export_after(cursor)
    found = await list_entries(opened.engine, export_id, limit=limit + 1, before=before)
    shown = found[:limit]
    page = AuditPage(
        items=[AuditEntry.model_validate(entry, from_attributes=True) for entry in shown],
        next_cursor=cursor_of(shown[-1].id) if len(found) > limit else None,
    )
    return JSONResponse(page.model_dump(mode="json"), headers=PRIVATE)
