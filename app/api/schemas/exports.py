"""An export as a response."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from app.api.problem_schema import EXPORT_CODES
from app.api.schemas.fields import Instant, Locale, Status
from app.models import Export
from app.models.file_options import Delimiter, FileFormatKey

EXPORT_EXAMPLE: dict[str, Any] = {
    "id": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071",
    "seller_id": 1,
    "status": "succeeded",
    "sources": ["follower"],
    "columns": ["email", "subscribed_at"],
    "spreadsheet_safe": True,
    "bom": False,
    "format": "csv",
    "delimiter": ",",
    "locale": "en",
    "timezone": "UTC",
    "joined_after": None,
    "joined_before": None,
    "recipient_email": "seller1@example.com",
    "progress": {"rows_exported": 1187, "rows_estimated": 1200},
    "file": {
        "name": "audience-1-2026-11-22.csv",
        "rows": 1187,
        "bytes": 52110,
        "checksum": "crc32c:yZRlqg==",
        "warnings": [],
    },
    "downloads": {"count": 0, "last_at": None},
    "download_url": "https://exports.example.com/d/AAAAAAAAAAE",
    "email": {"status": "sent", "sent_at": "2026-11-22T13:54:07.000321Z"},
    "error": None,
    "created_at": "2026-11-22T13:54:05.123456Z",
    "started_at": "2026-11-22T13:54:05.223456Z",
    "snapshot_at": "2026-11-22T13:54:05.323456Z",
    "finished_at": "2026-11-22T13:54:06.423456Z",
    "expires_at": "2026-11-29T13:54:06.423456Z",
}


class Progress(BaseModel):
    """Rows so far, and an estimate of the total."""

    rows_exported: int
    rows_estimated: int


class FileWarning(BaseModel):
    """What may go wrong where the file is used: a stable code, how many rows, and a sentence."""

    code: Literal["addresses_refused"]
    count: int
    detail: str


class ExportFile(BaseModel):
    """The finished file; rows and bytes are exact."""

    name: str
    rows: int
    bytes: int
    checksum: str | None = Field(
        description="CRC-32C of the file: base64 of four bytes, big-endian."
    )
    warnings: list[FileWarning]


class Downloads(BaseModel):
    """How often the mailed link and `download` were opened, and when last; `HEAD` is no opening."""

    count: int
    last_at: Instant | None


class EmailState(BaseModel):
    """The state of the mail, which is independent of the export's status."""

    status: Literal["pending", "sent", "failed"]
    sent_at: Instant | None


class ExportError(BaseModel):
    """Why an export failed: a stable code, and a sentence."""

    code: Annotated[str, WithJsonSchema({"type": "string", "enum": EXPORT_CODES})]
    detail: str


class ExportState(BaseModel):
    """An export without its ``download_url``: what the ``ETag`` and event ids cover."""

    # Each field must be the same in every read of an unchanged row: ETag and event ids are
    # hashes of them all.
    id: UUID
    seller_id: int
    status: Status
    sources: list[str]
    columns: list[str]
    spreadsheet_safe: bool
    bom: bool
    format: FileFormatKey
    delimiter: Delimiter
    locale: Locale
    timezone: str
    joined_after: Instant | None
    joined_before: Instant | None
    recipient_email: str
    progress: Progress
    file: ExportFile | None
    downloads: Downloads
    email: EmailState | None
    error: ExportError | None
    created_at: Instant
    started_at: Instant | None
    snapshot_at: Instant | None
    finished_at: Instant | None
    expires_at: Instant | None

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return the state of a row."""
        names = cls.model_fields.keys() - {"progress", "file", "downloads", "email", "error"}
        return cls(
            **{name: getattr(export, name) for name in names & vars(export).keys()},
            progress=Progress(
                rows_exported=export.rows_exported, rows_estimated=export.rows_estimated
            ),
            file=_file(export),
            downloads=Downloads(count=export.download_count, last_at=export.downloaded_at),
            email=_email(export),
            error=_error(export),
        )


class ExportResponse(ExportState):
    """An export."""

    model_config = ConfigDict(title="Export", json_schema_extra={"examples": [EXPORT_EXAMPLE]})

    download_url: str | None = Field(
        description="Opens in a browser without a token; a new URL in each response."
    )


class ExportPage(BaseModel):
    """One page of exports, newest first."""

    items: list[ExportResponse]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last page.")


def _file(export: Export) -> ExportFile | None:
    if export.file_name is None or export.file_rows is None or export.file_bytes is None:
        return None
    return ExportFile(
        name=export.file_name,
        rows=export.file_rows,
        bytes=export.file_bytes,
        checksum=export.file_checksum,
        warnings=_warnings(export),
    )


def _warnings(export: Export) -> list[FileWarning]:
    if not export.file_refused_addresses:
        return []
    return [
        FileWarning(
            code="addresses_refused",
            count=export.file_refused_addresses,
            detail="Addresses with characters beyond ASCII before the @: common mailing tools "
            "skip them in an import.",
        )
    ]


def _email(export: Export) -> EmailState | None:
    if export.email_status is None:
        return None
    return EmailState(status=export.email_status, sent_at=export.email_sent_at)


def _error(export: Export) -> ExportError | None:
    if export.status != "failed":
        return None
    return ExportError(code=export.error_code or "internal", detail=export.error_detail or "")
