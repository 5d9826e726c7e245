"""Downloads: redirects from an export or a mailed link to its file in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import AuditContextDep, ExportId, Reader, ResourcesDep
from app.api.download_urls import PRIVATE, available_file, file_url
from app.api.openapi import Responses, error_responses, redirect_responses
from app.api.route_classes import AuthenticatedRoute, LimitedBodyRoute
from app.errors import (
    DatabaseUnavailable,
    ExportGone,
    ExportNotFound,
    ExportNotReady,
    InsufficientScope,
    ServiceError,
    TokenInvalid,
)
from app.exports.audit import record_download
from app.exports.queries import find_export
from app.file_headers import CSV_TYPE, XLSX_TYPE, content_disposition, content_type
from app.models import Export
from app.resources import Resources

DOWNLOAD_ERRORS = error_responses(
    TokenInvalid, InsufficientScope, ExportNotFound, ExportNotReady, ExportGone, DatabaseUnavailable
)
LINK_ERRORS = error_responses(ExportNotFound, ExportNotReady, ExportGone, DatabaseUnavailable)

FILE_HEAD: Responses = {
    200: {
        "description": "The file's type, name and length",
        "content": {CSV_TYPE: {}, XLSX_TYPE: {}},
    }
}

LinkToken = Annotated[str, Path(description="The signed token of a mailed link.")]

guarded = APIRouter(route_class=AuthenticatedRoute, tags=["exports"])
public = APIRouter(route_class=LimitedBodyRoute, tags=["links"])


@guarded.get(
    "/exports/{id}/download",
    operation_id="download_export",
    status_code=307,
    response_class=RedirectResponse,
    responses=redirect_responses(307) | DOWNLOAD_ERRORS,
)
async def get_download(
    export_id: ExportId, principal: Reader, resources: ResourcesDep, audit_context: AuditContextDep
) -> Response:
    """Redirect to a presigned URL of the file, valid for at most five minutes."""
    export = await find_export(resources.database, export_id, principal.seller_id)
    url = await file_url(resources, export)
    # Committed before anyone has the URL: no file is served without its audit entry (ADR 4).
    await record_download(resources.database, "downloaded", export, audit_context)
    return RedirectResponse(url, 307, PRIVATE)


@public.get(
    "/d/{token}",
    status_code=302,
    response_class=RedirectResponse,
    responses=redirect_responses(302) | LINK_ERRORS,
)
async def follow_mailed_link(
    token: LinkToken, resources: ResourcesDep, audit_context: AuditContextDep
) -> Response:
    """Redirect from a mailed link to the file.

    Needs no other authentication. Works any number of times until the file
    expires or is erased, since mail scanners open links too. Each opening is
    recorded in the audit first; if that fails, so does the request.
    """
    with _count_outcome(resources):
        export = await _find_linked(resources, token)
        url = await file_url(resources, export)
        await record_download(resources.database, "link_followed", export, audit_context)
    return RedirectResponse(url, 302, PRIVATE)


# Without these two routes HeadMiddleware runs GET, which is recorded as a download.
@guarded.head(
    "/exports/{id}/download",
    operation_id="head_export_download",
    responses=FILE_HEAD | DOWNLOAD_ERRORS,
)
async def head_download(
    export_id: ExportId, principal: Reader, resources: ResourcesDep
) -> Response:
    """Return the headers of the file; does not count as a download."""
    return file_head(await find_export(resources.database, export_id, principal.seller_id))


@public.head("/d/{token}", operation_id="head_mailed_link", responses=FILE_HEAD | LINK_ERRORS)
async def head_link(token: LinkToken, resources: ResourcesDep) -> Response:
    """Return the headers of the file; does not count as an opening of the link.

    Mail scanners send HEAD requests.
    """
    return file_head(await _find_linked(resources, token))


async def _find_linked(resources: Resources, token: str) -> Export:
    """Return the export of a mailed link.

    Raises:
        ExportNotFound: the token was not signed with ``LINK_SECRET``.
        ExportGone: the export's row has been deleted, long after its file.
    """
    key = resources.links.verify(token)
    try:
        return await find_export(resources.database, key.id, key.seller_id)
    except ExportNotFound as error:
        raise ExportGone("The file has expired.") from error


@contextmanager
def _count_outcome(resources: Resources) -> Iterator[None]:
    """Count the opening of a mailed link by its outcome: ``opened`` or an error code."""
    outcome = ServiceError.code
    try:
        yield
        outcome = "opened"
    except ServiceError as error:
        outcome = error.code
        raise
    finally:
        resources.metrics.link_openings.labels(outcome).inc()


def file_head(export: Export) -> Response:
    """Return a response with the headers of the export's file and no body.

    Raises:
        ExportNotReady, ExportGone: as :func:`file_url` does.
    """
    name = available_file(export).name
    headers = {
        **PRIVATE,
        "Content-Disposition": content_disposition(name),
        "Content-Length": str(export.file_bytes),
    }
    return Response(headers=headers, media_type=content_type(name))
