"""Actions on an export: cancel it, delete its file, send its mail again."""

from fastapi import APIRouter, Response

from app.api.dependencies import AuditContextDep, ExportId, ResourcesDep, Writer
from app.api.openapi import ENTITY_HEADERS, Responses, error_responses
from app.api.responses import export_response
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.exports import ExportResponse
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    ExportNotReady,
    InsufficientScope,
    QuotaExceeded,
    TokenInvalid,
)
from app.exports.cleanup import deletion
from app.exports.delivery import resend
from app.exports.notifications import publish_change

router = APIRouter(route_class=AuthenticatedRoute, tags=["exports"])

STOPPED: Responses = {200: {"description": "The export as it is now", "headers": ENTITY_HEADERS}}
RESENT: Responses = {
    202: {"description": "The export, whose mail will be sent", "headers": ENTITY_HEADERS}
}


@router.delete(
    "/exports/{id}",
    response_model=ExportResponse,
    responses=STOPPED
    | error_responses(TokenInvalid, InsufficientScope, ExportNotFound, DatabaseUnavailable),
)
async def delete_export(
    export_id: ExportId, principal: Writer, resources: ResourcesDep, audit_context: AuditContextDep
) -> Response:
    """Cancel an active export, or delete the file of one that succeeded.

    A mail not yet sent is cancelled, and every link stops working at once. The
    status becomes `deleted` once the file is confirmed gone; until then it may
    remain `succeeded`, without a `download_url`. An export that has ended in
    another way is unchanged.
    """
    export = await deletion.delete_export(
        resources.database,
        resources.attempt_cleaner,
        export_id,
        principal.seller_id,
        audit_context,
        resources.metrics,
    )
    # After the commit: streams read the row as soon as they are notified.
    await publish_change(resources.export_events, export)
    return await export_response(resources, export, audit_context, 200)


@router.post(
    "/exports/{id}/email",
    operation_id="resend_export_email",
    status_code=202,
    response_model=ExportResponse,
    responses=RESENT
    | error_responses(
        TokenInvalid,
        InsufficientScope,
        ExportNotFound,
        ExportNotReady,
        QuotaExceeded,
        DatabaseUnavailable,
    ),
)
async def resend_email(
    export_id: ExportId, principal: Writer, resources: ResourcesDep, audit_context: AuditContextDep
) -> Response:
    """Send the mail of a finished export again, at most three times an hour."""
    export = await resend.resend_email(
        resources.database, export_id, principal.seller_id, audit_context
    )
    return await export_response(resources, export, audit_context, 202)
