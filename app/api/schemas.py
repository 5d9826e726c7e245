"""What goes out over HTTP, and the kinds of values both ways share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic_core import PydanticKnownError

from app.audience.merge import available_columns
from app.audience.sources import SOURCES_BY_KEY
from app.auth import BIGINT_MAX
from app.models import Export

COLUMNS = available_columns(list(SOURCES_BY_KEY))

WHOLE = re.compile("-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def rfc3339(instant: datetime) -> str:
    """Return an instant in UTC with all six digits of its microseconds (RFC 3339)."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainSerializer(rfc3339, when_used="always"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-22T13:54:05.123456Z"]}
    ),
]

Column = Annotated[StrictStr, WithJsonSchema({"type": "string", "enum": COLUMNS})]

SellerId = Annotated[StrictInt, Field(ge=1, le=BIGINT_MAX, examples=[1])]


def _whole(sent: object) -> object:
    """Refuse what only Python takes for a whole number: ``1_0``, ``+1``, ``1.0``."""
    if isinstance(sent, str) and WHOLE.fullmatch(sent) is None:
        raise PydanticKnownError("int_parsing")
    return sent


def _number(sent: object) -> object:
    """Refuse what JSON does not take for a number: ``1_0.5``, ``+1``, ``nan``."""
    if isinstance(sent, str) and NUMBER.fullmatch(sent) is None:
        raise PydanticKnownError("float_parsing")
    return sent


Whole = BeforeValidator(_whole)
"""Of a parameter in a query, where all values come as text; named after its bounds."""

Number = BeforeValidator(_number)

SellerIdParameter = Annotated[int, Field(ge=1, le=BIGINT_MAX, examples=[1]), Whole]


Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired", "deleted"]


EXPORT_EXAMPLE: dict[str, Any] = {
    "id": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071",
    "seller_id": 1,
    "status": "succeeded",
    "sources": ["follower"],
    "columns": ["email", "subscribed_at"],
    "spreadsheet_safe": True,
    "bom": False,
    "recipient_email": "seller1@example.com",
    "progress": {"rows_exported": 1187, "rows_estimated": 1200},
    "file": {"name": "audience-1-2026-11-22.csv", "rows": 1187, "bytes": 52110},
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
    """How far an export is; the estimate may be off."""

    rows_exported: int
    rows_estimated: int


class File(BaseModel):
    """The finished file; both numbers are exact."""

    name: str
    rows: int
    bytes: int


class Email(BaseModel):
    """The state of the mail, apart from the export's."""

    status: Literal["pending", "sent", "failed"]
    sent_at: Instant | None


class Failure(BaseModel):
    """Why an export failed, for programs and for people."""

    code: str
    detail: str


class ExportState(BaseModel):
    """An export as the service knows it: all of its document but the download's address."""

    id: UUID
    seller_id: int
    status: Status
    sources: list[str]
    columns: list[str]
    spreadsheet_safe: bool
    bom: bool
    recipient_email: str
    progress: Progress
    file: File | None
    email: Email | None
    error: Failure | None
    created_at: Instant
    started_at: Instant | None
    snapshot_at: Instant | None
    finished_at: Instant | None
    expires_at: Instant | None

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return the document of a row."""
        names = cls.model_fields.keys() - {"progress", "file", "email", "error"}
        return cls(
            **{name: getattr(export, name) for name in names & vars(export).keys()},
            progress=Progress(
                rows_exported=export.rows_exported, rows_estimated=export.rows_estimated
            ),
            file=_file(export),
            email=_email(export),
            error=_failure(export),
        )


class ExportDocument(ExportState):
    """An export."""

    model_config = ConfigDict(title="Export", json_schema_extra={"examples": [EXPORT_EXAMPLE]})

    download_url: str | None = Field(
        description="Opens in a browser without a token; made anew on each answer."
    )


class ExportPage(BaseModel):
    """Some exports, newest first."""

    items: list[ExportDocument]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last page.")


class SourceCount(BaseModel):
    """How many members one source has."""

    key: str
    label: str
    count: int


class AudienceDocument(BaseModel):
    """A seller's audience: each source, and how many different addresses in all."""

    sources: list[SourceCount]
    total: int


def _file(export: Export) -> File | None:
    if export.file_name is None or export.file_rows is None or export.file_bytes is None:
        return None
    return File(name=export.file_name, rows=export.file_rows, bytes=export.file_bytes)


def _email(export: Export) -> Email | None:
    if export.email_status is None:
        return None
    return Email(status=export.email_status, sent_at=export.email_sent_at)


def _failure(export: Export) -> Failure | None:
    if export.status != "failed":
        return None
    return Failure(code=export.error_code or "internal", detail=export.error_detail or "")
