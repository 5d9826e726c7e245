"""URLs of an export's file, and the errors where there is none."""

from datetime import UTC, datetime

from app.errors import ExportGone, ExportNotReady
from app.exports.audit import AuditContext, record_url
from app.exports.delivery.links import StoredFile, download_link
from app.models import Export
from app.resources import Resources

URL_LIFETIME_S = 300
"""How long a presigned URL is valid."""

REMOVED_STATUSES = ("expired", "deleted")

PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""Headers of responses that carry the URL of a file: no cache keeps it, no page passes it on."""


async def file_url(resources: Resources, export: Export) -> str:
    """Return a presigned URL of the export's file.

    It is valid for five minutes, or until the file expires where that is sooner.

    Raises:
        ExportNotReady, ExportGone: as :func:`available_file` does.
    """
    return await available_file(export).presigned_url(resources.storage, URL_LIFETIME_S)


async def download_url(
    resources: Resources, export: Export, audit_context: AuditContext
) -> str | None:
    """Return a URL that opens without a token, or ``None`` where there is no file.

    It is the mailed link where ``PUBLIC_URL`` is set, else a presigned URL, which has its entry in
    the audit before it leaves: nobody sees it being opened.

    Raises:
        DatabaseUnavailable: the entry could not be written.
    """
    left_s = remaining_lifetime_s(export)
    if left_s is None or left_s <= 0:
        return None
    if not resources.links.enabled:
        # Committed before the URL exists (ADR 4).
        await record_url(resources.database, export, audit_context, URL_LIFETIME_S)
    return await download_link(resources.links, resources.storage, export, URL_LIFETIME_S)


def available_file(export: Export) -> StoredFile:
    """Return the file of an export that may be downloaded now.

    Raises:
        ExportNotReady: there is no file, or not yet.
        ExportGone: it has expired or was deleted, whether or not the store still has it.
    """
    left_s, file = remaining_lifetime_s(export), StoredFile.of(export)
    if export.status in REMOVED_STATUSES or (left_s is not None and left_s <= 0):
        raise ExportGone("The file has expired or was erased.")
    if left_s is None or file is None:
        raise ExportNotReady(f"The export is {export.status}: it has no file.")
    return file


def remaining_lifetime_s(export: Export) -> float | None:
    """Return the seconds until the file expires; ``None`` where there is no file."""
    # Its status stays "succeeded" until the store has confirmed the deletion.
    if export.is_being_deleted:
        return 0
    if export.status != "succeeded" or export.expires_at is None:
        return None
    return (export.expires_at - datetime.now(UTC)).total_seconds()
