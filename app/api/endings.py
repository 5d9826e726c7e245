"""After the request: stop an export or erase its file, send its mail again."""

from fastapi import APIRouter, Response

from app.api.answers import export_answer
from app.api.dependencies import ExportId, From, Opened, Writer
from app.api.documentation import ENTITY_HEADERS, Responses, documented
from app.api.routes import GuardedRoute
from app.api.schemas import ExportDocument
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    ExportNotReady,
    QuotaExceeded,
    ScopeMissing,
    TokenInvalid,
)
from app.exports.deletion import delete_export
from app.exports.resending import resend_email
from app.exports.telling import tell

router = APIRouter(route_class=GuardedRoute, tags=["exports"])

STOPPED: Responses = {200: {"description": "The export as it is now", "headers": ENTITY_HEADERS}}
RESENT: Responses = {202: {"description": "The export, its mail due", "headers": ENTITY_HEADERS}}


@router.delete(
    "/exports/{id}",
    response_model=ExportDocument,
    responses=STOPPED | documented(TokenInvalid, ScopeMissing, ExportNotFound, DatabaseUnavailable),
)
async def delete(export_id: ExportId, caller: Writer, opened: Opened, origin: From) -> Response:
    """Stop an export that is under way; erase the file of one that succeeded.

    A mail not yet sent is withdrawn and every link is dead. An export that
    has ended otherwise stays as it is.
    """
    export = await delete_export(
        opened.engine, opened.residue, export_id, caller.seller_id, origin, opened.metrics
    )
    await tell(opened.news, export)
    return await export_answer(opened, export, 200)


@router.post(
    "/exports/{id}/email",
    status_code=202,
    response_model=ExportDocument,
    responses=RESENT
    | documented(
        TokenInvalid,
        ScopeMissing,
        ExportNotFound,
        ExportNotReady,
        QuotaExceeded,
        DatabaseUnavailable,
    ),
)
async def post_email(export_id: ExportId, caller: Writer, opened: Opened, origin: From) -> Response:
    """Send the mail of a finished export again, at most three times an hour."""
    export = await resend_email(opened.engine, export_id, caller.seller_id, origin)
    return await export_answer(opened, export, 202)
