"""What callers ask for: a request's body, and what it means for its caller."""

from typing import TYPE_CHECKING, TypeAlias

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, create_model

from app.api.schemas import COLUMNS, Column, SellerId
from app.audience.merge import DEFAULT_COLUMNS, check_columns
from app.audience.sources import SOURCES, SOURCES_BY_KEY
from app.auth import Principal
from app.errors import RecipientForbidden, RequestInvalid
from app.exports.requests import ExportRequest
from app.recipients import ADDRESS_MAX, is_mailable


class ExportWish(BaseModel):
    """The part of a request's body that does not depend on the registry of sources."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{SOURCES[0].key: True}],
            "anyOf": [
                {"properties": {source.key: {"const": True}}, "required": [source.key]}
                for source in SOURCES
            ],
        },
    )

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
        service=principal.subject if principal.seller_id is None else None,
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
