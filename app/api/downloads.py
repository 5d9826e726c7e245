"""Downloads: from an export, or the link in a mail, to its file in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import ExportId, From, Opened, Reader
from app.api.documentation import documented, redirect
from app.api.routes import GuardedRoute, PublicRoute
from app.errors import (
    DatabaseUnavailable,
    ExportGone,
    ExportNotFound,
    ExportNotReady,
    ScopeMissing,
    ServiceError,
    TokenInvalid,
)
from app.exports.audit import record_opening
from app.exports.queries import find_export
from app.models import Export
from app.resources import Resources

URL_LIFETIME_S = 300

GONE = ("expired", "deleted")

PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""Headers of answers that carry the address of a file."""

guarded = APIRouter(route_class=GuardedRoute, tags=["exports"])
public = APIRouter(route_class=PublicRoute, tags=["links"])


@guarded.get(
    "/exports/{id}/download",
    status_code=307,
    response_class=RedirectResponse,
    responses=redirect(307)
    | documented(
        TokenInvalid, ScopeMissing, ExportNotFound, ExportNotReady, ExportGone, DatabaseUnavailable
    ),
)
async def get_download(
    export_id: ExportId, caller: Reader, opened: Opened, origin: From
) -> Response:
    """Redirect to the file, at an address that works for at most five minutes."""
    export = await find_export(opened.engine, export_id, caller.seller_id)
    url = await file_url(opened, export)
    await record_opening(opened.engine, "downloaded", export, origin)
    return RedirectResponse(url, 307, PRIVATE)


@public.get(
    "/d/{token}",
    status_code=302,
    response_class=RedirectResponse,
    responses=redirect(302)
    | documented(ExportNotFound, ExportNotReady, ExportGone, DatabaseUnavailable),
)
async def get_link(
    token: Annotated[str, Path(description="The signed name of an export.")],
    opened: Opened,
    origin: From,
) -> Response:
    """Redirect from a mailed link to the file.

    The token in the path is all that is needed, as often as wanted, until the
    file expires or is erased: programs that look through mails open links too.
    What cannot be written to the audit is not opened.
    """
    with _counted(opened):
        seller_id, export_id = opened.links.read(token)
        try:
            export = await find_export(opened.engine, export_id, seller_id)
        except ExportNotFound as error:
            raise ExportGone("The file has expired.") from error
        url = await file_url(opened, export)
        await record_opening(opened.engine, "opened", export, origin)
    return RedirectResponse(url, 302, PRIVATE)


@contextmanager
def _counted(opened: Resources) -> Iterator[None]:
    """Count the opening of a mailed link, by what became of it."""
    outcome = ServiceError.code
    try:
        yield
        outcome = "opened"
    except ServiceError as error:
        outcome = error.code
        raise
    finally:
        opened.metrics.link_openings.labels(outcome).inc()


async def file_url(opened: Resources, export: Export) -> str:
    """Return a presigned address of the export's file.

    It lives five minutes, or as long as the file where that is less.

    Raises:
        ExportNotReady: there is no file, or not yet.
        ExportGone: it has expired, swept or not, or was erased.
    """
    left_s = lifetime_s(export)
    if export.status in GONE or (left_s is not None and left_s <= 0):
        raise ExportGone("The file has expired or was erased.")
    if left_s is None or export.object_key is None or export.file_name is None:
        raise ExportNotReady(f"The export is {export.status}: it has no file.")
    url_lifetime_s = max(1, int(min(left_s, URL_LIFETIME_S)))
    return await opened.storage.presigned_url(export.object_key, export.file_name, url_lifetime_s)


async def download_url(opened: Resources, export: Export) -> str | None:
    """Return an address that opens without a token, or ``None`` where there is no file."""
    left_s = lifetime_s(export)
    if left_s is None or left_s <= 0:
        return None
    return opened.links.url(export) if opened.links.are_served else await file_url(opened, export)


def lifetime_s(export: Export) -> float | None:
    """Return how long the file will still live; ``None`` where there is none."""
    if export.status != "succeeded" or export.expires_at is None:
        return None
    return (export.expires_at - datetime.now(UTC)).total_seconds()
