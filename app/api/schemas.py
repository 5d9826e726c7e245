"""What goes in and out over HTTP, as Pydantic models."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    create_model,
)

from app.audience.merge import DEFAULT_COLUMNS, available_columns, check_columns
from app.audience.sources import SOURCES, SOURCES_BY_KEY
from app.auth import BIGINT_MAX, Principal
from app.errors import RecipientForbidden, RequestInvalid
from app.exports.requests import ExportRequest
from app.models import Export
from app.recipients import ADDRESS_MAX, is_mailable

COLUMNS = available_columns(list(SOURCES_BY_KEY))


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

SellerIdParameter = Annotated[int, Field(ge=1, le=BIGINT_MAX, examples=[1])]
"""The same in a query, where all values come as text."""


Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired", "deleted"]


class ExportWish(BaseModel):
    """The part of a request's body that does not depend on the registry of sources."""

    model_config = ConfigDict(extra="forbid", title="ExportRequest")

    columns: list[Column] = Field(
        default=list(DEFAULT_COLUMNS),
        min_length=1,
        max_length=len(COLUMNS),
        description="The file's columns, in order; a date's only where its source is selected.",
    )
    spreadsheet_safe: StrictBool = Field(
        default=True, description="Put a quote before cells that a spreadsheet would calculate."
    )
    bom: StrictBool = Field(default=False, description="Begin with a byte order mark, for Excel.")
    seller_id: SellerId | None = Field(
        default=None, description="Whose audience; needed where the token names no seller."
    )
    recipient_email: StrictStr | None = Field(
        default=None,
        max_length=ADDRESS_MAX,
        description="Who gets the mail; needed where the token names no seller.",
        examples=["seller1@example.com"],
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of the selected sources, in the registry's order."""
        return tuple(source.key for source in SOURCES if getattr(self, source.key))


if TYPE_CHECKING:
    ExportBody: TypeAlias = ExportWish
else:
    ExportBody = create_model(
        "ExportBody",
        __base__=ExportWish,
        __doc__="Which sources to merge, at least one, and how to write the file.",
        **{
            source.key: (StrictBool, Field(default=False, description=f"Include: {source.label}."))
            for source in SOURCES
        },
    )
    """A request's body: one flag for each entry of the registry, and the rest of the wish."""


def export_request(wish: ExportWish, principal: Principal) -> ExportRequest:
    """Return what ``principal`` asks for, for whom it may ask.

    Raises:
        RequestInvalid: a field is missing or does not fit the others.
        RequestValidationError: no source is selected.
        RecipientForbidden: the seller or the recipient is not the caller's to name.
    """
    _check_selected(wish.sources)
    check_columns(wish.sources, wish.columns)
    seller_id = principal.seller(wish.seller_id)
    if seller_id is None:
        raise RequestInvalid("seller_id", "Name the seller: this token speaks for all.")
    return ExportRequest(
        seller_id=seller_id,
        recipient_email=_recipient(wish.recipient_email, principal),
        sources=wish.sources,
        columns=tuple(wish.columns),
        spreadsheet_safe=wish.spreadsheet_safe,
        bom=wish.bom,
        requested_by=principal.name,
    )


def _check_selected(sources: tuple[str, ...]) -> None:
    if sources:
        return
    reason = f"Select at least one of {', '.join(SOURCES_BY_KEY)}"
    raise RequestValidationError(
        [{"type": "no_source", "loc": ("body", key), "msg": reason} for key in SOURCES_BY_KEY]
    )


def _recipient(named: str | None, principal: Principal) -> str:
    """Return the address to mail to: a seller's own, or whichever a service names."""
    if named is not None and not is_mailable(named):
        raise RequestInvalid("recipient_email", "This is not an address that a mail can go to.")
    if principal.seller_id is None:
        if named is None:
            raise RequestInvalid("recipient_email", "Name the recipient: this token has none.")
        return named
    if principal.email is None:
        raise RequestInvalid("recipient_email", "The token has no claim email to send to.")
    if named is not None and named.lower() != principal.email.lower():
        raise RecipientForbidden("A seller's export goes to the address in the token only.")
    return principal.email


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

    model_config = ConfigDict(title="Export")

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
