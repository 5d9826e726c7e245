"""Field types that several schemas share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic_core import PydanticKnownError

from app.audience.merge import available_columns
from app.audience.sources import SOURCES_BY_KEY
from app.auth.principal import BIGINT_MAX
from app.i18n.locales import LOCALES

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

Locale = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LOCALES)})]

LanguageTag = Annotated[StrictStr, Field(max_length=100)]

LANGUAGE_TAG = (
    f"A BCP 47 tag, matched to the nearest of {', '.join(LOCALES)}; by default the token's "
    "claim `locale`, else `en`."
)

TimeZone = Annotated[StrictStr, Field(max_length=100)]

TIME_ZONE = "An IANA time zone; by default the token's claim `zoneinfo`, else `UTC`."

Boundary = Annotated[StrictStr, Field(max_length=64)]

JOINED_AFTER = (
    "Only members whose date is at or after this: an instant (RFC 3339), or a date, which is its "
    "first moment in `timezone`."
)

JOINED_BEFORE = "Only members whose date is before this, written like `joined_after`."

SellerId = Annotated[StrictInt, Field(ge=1, le=BIGINT_MAX, examples=[1])]


def _whole(sent: object) -> object:
    """Refuse strings that only Python accepts as an integer: ``1_0``, ``+1``, ``1.0``."""
    if isinstance(sent, str) and WHOLE.fullmatch(sent) is None:
        raise PydanticKnownError("int_parsing")
    return sent


def _number(sent: object) -> object:
    """Refuse strings that JSON does not accept as a number: ``1_0.5``, ``+1``, ``nan``."""
    if isinstance(sent, str) and NUMBER.fullmatch(sent) is None:
        raise PydanticKnownError("float_parsing")
    return sent


Whole = BeforeValidator(_whole)
"""For query parameters, whose values are strings; listed after their bounds."""

Number = BeforeValidator(_number)

SellerIdParameter = Annotated[int, Field(ge=1, le=BIGINT_MAX, examples=[1]), Whole]

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired", "deleted"]
