"""The body of ``POST /exports``, and its translation to an ``ExportRequest``."""

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, create_model

from app.api.schemas.fields import (
    COLUMNS,
    JOINED_AFTER,
    JOINED_BEFORE,
    LANGUAGE_TAG,
    TIME_ZONE,
    Boundary,
    Column,
    LanguageTag,
    SellerId,
    TimeZone,
)
from app.audience.merge import validate_columns
from app.audience.options import OptionsResolver, Preferences, RequestedOptions
from app.audience.sources import SOURCES, SOURCES_BY_KEY
from app.auth.principal import Principal
from app.email_addresses import ADDRESS_MAX, is_valid_recipient
from app.errors import Forbidden, RequestInvalid
from app.exports.submission.export_request import ExportRequest
from app.models import DEFAULT_COLUMNS, FILE_OPTION_NAMES
from app.models.file_options import Delimiter, FileFormatKey


def for_generators(schema: dict[str, Any]) -> None:
    """Write the schema so that generators of API clients make one type with optional fields.

    That at least one source must be selected is said in words, since alternatives beside
    properties become several types. A default is too: beside one, a field becomes mandatory
    in TypeScript and is always sent by Python, which hides the defaults that a token sets.
    """
    schema["examples"] = [{SOURCES[0].key: True}]
    for field in schema["properties"].values():
        if (default := field.pop("default", None)) is not None:
            described = field.get("description", "")
            field["description"] = f"{described} Default: `{json.dumps(default)}`.".strip()


class ExportCreateBase(BaseModel):
    """The fields of the body that do not depend on the registry of sources."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=for_generators)

    columns: list[Column] = Field(
        default=list(DEFAULT_COLUMNS),
        min_length=1,
        max_length=len(COLUMNS),
        description="The file's columns, in order; `…_since` only with its source selected.",
    )
    spreadsheet_safe: StrictBool = Field(
        default=True,
        description="Prefix cells that a spreadsheet would read as a formula with `'`.",
    )
    bom: StrictBool = Field(
        default=False, description="Begin the file with a byte order mark, which Excel needs."
    )
    format: FileFormatKey = Field(default="csv", description="How the file is written.")
    delimiter: Delimiter = Field(
        default=",", description="What separates cells: a comma, a semicolon or a tab; CSV only."
    )
    locale: LanguageTag | None = Field(default=None, description=LANGUAGE_TAG, examples=["de-AT"])
    timezone: TimeZone | None = Field(
        default=None, description=TIME_ZONE, examples=["Europe/Berlin"]
    )
    joined_after: Boundary | None = Field(
        default=None, description=JOINED_AFTER, examples=["2024-01-01"]
    )
    joined_before: Boundary | None = Field(
        default=None, description=JOINED_BEFORE, examples=["2025-01-01T00:00:00+01:00"]
    )
    seller_id: SellerId | None = Field(
        default=None, description="Whose audience; required unless the token is bound to a seller."
    )
    recipient_email: StrictStr | None = Field(
        default=None,
        max_length=ADDRESS_MAX,
        description="Who gets the mail; required unless the token is bound to a seller.",
        examples=["seller1@example.com"],
    )

    @property
    def options(self) -> RequestedOptions:
        """The options of the file as they were written."""
        values = {name: getattr(self, name) for name in FILE_OPTION_NAMES}
        return RequestedOptions(**values | {"columns": tuple(self.columns)})

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of the selected sources, in the registry's order."""
        return tuple(source.key for source in SOURCES if getattr(self, source.key))


if TYPE_CHECKING:
    ExportCreate: TypeAlias = ExportCreateBase
else:
    ExportCreate = create_model(
        "ExportCreate",
        __base__=ExportCreateBase,
        __doc__="Which sources to merge, at least one, and how to write the file.",
        **{
            source.key: (StrictBool, Field(default=False, description=f"Include: {source.label}."))
            for source in SOURCES
        },
    )
    """The body: a flag for each source in the registry, and the fields of the base."""


async def to_export_request(
    body: ExportCreateBase, principal: Principal, resolver: OptionsResolver
) -> ExportRequest:
    """Return the request that ``principal`` makes, with the seller and recipient it may name.

    Raises:
        DatabaseUnavailable: the names of the time zones are not known yet.
        RequestInvalid: a field is missing or contradicts another.
        RequestValidationError: no source is selected.
        Forbidden: the token allows another seller or recipient only.
    """
    _check_selected(body.sources)
    validate_columns(body.sources, body.columns)
    seller_id = principal.seller(body.seller_id)
    if seller_id is None:
        raise RequestInvalid("seller_id", "Required: this token is not bound to a seller.")
    recipient_email = _recipient(body.recipient_email, principal)
    return ExportRequest(
        seller_id=seller_id,
        recipient_email=recipient_email,
        sources=body.sources,
        options=await resolver.resolve(body.options, preferences(principal)),
        requested_by=principal.name,
        service=principal.subject if principal.seller_id is None else None,
    )


def preferences(principal: Principal) -> Preferences:
    """Return the language and time zone that a caller's token names."""
    return Preferences(principal.locale, principal.zoneinfo)


def _check_selected(sources: tuple[str, ...]) -> None:
    if sources:
        return
    reason = f"Select at least one of {', '.join(SOURCES_BY_KEY)}"
    raise RequestValidationError(
        [{"type": "no_source", "loc": ("body", key), "msg": reason} for key in SOURCES_BY_KEY]
    )


def _recipient(requested: str | None, principal: Principal) -> str:
    """Return the mail's recipient: the token's ``email`` for a seller, else the requested one."""
    if requested is not None and not is_valid_recipient(requested):
        raise RequestInvalid("recipient_email", "This is not a valid e-mail address.")
    if principal.seller_id is None:
        if requested is None:
            raise RequestInvalid(
                "recipient_email",
                "Required: this token is not bound to a seller.",
            )
        return requested
    if principal.email is None:
        raise RequestInvalid(
            "recipient_email", "The token has no `email` claim to send the mail to."
        )
    if requested is not None and requested.lower() != principal.email.lower():
        raise Forbidden("A seller's export can only be sent to the `email` of the token.")
    # Not the requested spelling: case may matter before the @ (RFC 5321, section 2.4).
    return principal.email
