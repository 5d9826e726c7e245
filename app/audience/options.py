"""The options of a file as callers write them, and what they mean."""

from dataclasses import dataclass
from datetime import datetime

from app.audience.boundaries import parse_boundary
from app.audience.time_zones import DEFAULT_TIMEZONE, TimeZones
from app.database.database import Database
from app.errors import RequestInvalid
from app.i18n.locales import DEFAULT_LOCALE, match_tag
from app.models import DEFAULT_COLUMNS, FileOptions
from app.models.file_options import Delimiter, FileFormatKey

BOUNDARY_ADVICE = (
    "Give a date such as 2024-01-31 or an instant such as 2024-01-31T09:30:00+01:00 (RFC 3339)."
)


@dataclass(frozen=True, kw_only=True)
class RequestedOptions:
    """Options as a caller wrote them; ``None`` where there is a default from elsewhere."""

    columns: tuple[str, ...] = DEFAULT_COLUMNS
    spreadsheet_safe: bool = True
    bom: bool = False
    format: FileFormatKey = "csv"
    delimiter: Delimiter = ","
    locale: str | None = None
    timezone: str | None = None
    joined_after: str | None = None
    joined_before: str | None = None


@dataclass(frozen=True)
class Preferences:
    """A caller's language tag and time zone, as a token's claims have them; unchecked."""

    locale: str | None = None
    timezone: str | None = None


NO_PREFERENCES = Preferences()


class OptionsResolver:
    """Turns options as callers write them into canonical ones."""

    def __init__(self, database: Database) -> None:
        self._zones = TimeZones(database)

    async def resolve(
        self, requested: RequestedOptions, preferences: Preferences = NO_PREFERENCES
    ) -> FileOptions:
        """Return the options that a request means.

        Raises:
            RequestInvalid: of the option's name.
            DatabaseUnavailable: the names of the time zones are not known yet.
        """
        check_format(requested)
        timezone = await self._timezone(requested, preferences)
        after = await self._boundary("joined_after", requested.joined_after, timezone)
        before = await self._boundary("joined_before", requested.joined_before, timezone)
        if after is not None and before is not None and after >= before:
            raise RequestInvalid("joined_before", "Must be later than joined_after.")
        return FileOptions(
            columns=requested.columns,
            spreadsheet_safe=requested.spreadsheet_safe,
            bom=requested.bom,
            format=requested.format,
            delimiter=requested.delimiter,
            locale=_locale(requested, preferences),
            timezone=timezone,
            joined_after=after,
            joined_before=before,
        )

    async def _timezone(self, requested: RequestedOptions, preferences: Preferences) -> str:
        if requested.timezone is None:
            # An invalid claim is ignored: the caller cannot correct what the issuer wrote.
            preferred = preferences.timezone and await self._zones.find(preferences.timezone)
            return preferred or DEFAULT_TIMEZONE
        found = await self._zones.find(requested.timezone)
        if found is None:
            raise RequestInvalid("timezone", "Unknown time zone; use an IANA name: Europe/Berlin.")
        return found

    async def _boundary(self, field: str, text: str | None, timezone: str) -> datetime | None:
        if text is None:
            return None
        boundary = parse_boundary(text)
        if boundary is None:
            raise RequestInvalid(field, BOUNDARY_ADVICE)
        if isinstance(boundary, datetime):
            return boundary
        return await self._zones.first_moment(boundary, timezone)


def _locale(requested: RequestedOptions, preferences: Preferences) -> str:
    """Return the nearest locale; some issuers write ``de_AT`` (OpenID Connect Core, 5.1)."""
    if requested.locale is None:
        preferred = preferences.locale and match_tag(preferences.locale.replace("_", "-"))
        return preferred or DEFAULT_LOCALE
    found = match_tag(requested.locale)
    if found is None:
        raise RequestInvalid("locale", "Not a language tag; use BCP 47: de, zh-CN, pt-BR.")
    return found


def check_format(requested: RequestedOptions) -> None:
    """Raise where the options of a CSV are given for another format.

    Raises:
        RequestInvalid: of the option's name.
    """
    if requested.format == "csv":
        return
    for field, default in (("delimiter", ","), ("bom", False)):
        if getattr(requested, field) != default:
            raise RequestInvalid(field, f"Only a CSV file has it, not {requested.format}.")
