"""Numbers, sizes, dates and lists as each language writes them (Unicode CLDR, by Babel)."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import format_decimal
from babel.units import format_unit

UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")
NARROW_SPACE = "\u202f"
"""CLDR's before ``PM``: old mail programs show a box, and English mails would not be ASCII."""

THOUSAND = 1000
DECIMALS_BELOW = 10
"""A size below ten of its unit has a decimal: ``1.2 MB``, ``48 MB``."""

SPANISH_GROUPED_MIN = 10_000
"""CLDR's ``minimumGroupingDigits``, which Babel does not read: ``4246``, but ``42.460``."""

SPANISH_I = re.compile(r"h?i(?![aeo])", re.IGNORECASE)
"""Before this sound Spanish writes ``e`` for ``y``."""


@cache
def cldr(locale: str) -> Locale:
    """Return CLDR's data of a locale."""
    return Locale.parse(locale, sep="-")


def plural_form(locale: str, n: int) -> str:
    """Return the name of a number's plural form: ``one``, ``many`` or ``other``."""
    return str(cldr(locale).plural_form(n))


def plural_forms(locale: str) -> set[str]:
    """Return the names of all plural forms of a language."""
    return {*cldr(locale).plural_form.rules, "other"}


def number(locale: str, value: float) -> str:
    """Return a number with the language's separators, and a decimal at most."""
    is_grouped = locale != "es" or abs(value) >= SPANISH_GROUPED_MIN
    return format_decimal(value, "#,##0.#", cldr(locale), group_separator=is_grouped)


def size(locale: str, value: int) -> str:
    """Return a number of bytes in decimal units: ``52 kB``, ``1.2 MB``."""
    scaled, unit = float(value), 0
    # Rounded: 999,600 bytes are 1 MB, not 1000 kB.
    while _rounded(scaled) >= THOUSAND and unit < len(UNITS) - 1:
        scaled, unit = scaled / THOUSAND, unit + 1
    name = f"digital-{UNITS[unit]}"
    length: Literal["long", "short"] = "long" if unit == 0 else "short"
    return format_unit(_rounded(scaled), name, length, locale=cldr(locale))


def day(locale: str, instant: datetime, timezone: str) -> str:
    """Return the day of an instant in a time zone: ``November 22, 2026``."""
    return format_date(local_time(instant, timezone)[0], "long", cldr(locale))


def moment(locale: str, instant: datetime, timezone: str) -> str:
    """Return an instant in a time zone, named: ``November 22, 2026 at 1:54 PM (UTC)``."""
    local, name = local_time(instant, timezone)
    pattern = _joined_pattern(locale)
    time = format_time(local, "short", locale=cldr(locale)).replace(NARROW_SPACE, " ")
    date = day(locale, instant, timezone)
    return f"{pattern.replace('{1}', date).replace('{0}', time)} ({name})"


def conjunction(locale: str, items: Sequence[str]) -> str:
    """Return items as a list within a sentence: ``a, b and c``; empty where there are none."""
    joined = format_list(list(items), "standard", cldr(locale)) if items else ""
    if locale == "es" and len(items) > 1 and SPANISH_I.match(items[-1]):
        head = joined.removesuffix(f" y {items[-1]}")
        return f"{head} e {items[-1]}"
    return joined


def within_sentence(locale: str, label: str) -> str:
    """Return a label as it is written inside a sentence: ``Followers`` is ``followers``.

    German nouns and abbreviations keep their capitals.
    """
    is_abbreviation = label[1:2].isupper()
    return label if locale == "de" or is_abbreviation else label[:1].lower() + label[1:]


def zone(timezone: str) -> tuple[ZoneInfo, str]:
    """Return a time zone and its name; UTC for one that PostgreSQL knows and Python does not."""
    try:
        return ZoneInfo(timezone), timezone
    # OSError: some names, such as America, are folders of the time zone database.
    except (ValueError, KeyError, OSError):
        return ZoneInfo("UTC"), "UTC"


def local_time(instant: datetime, timezone: str) -> tuple[datetime, str]:
    """Return an instant in a time zone, and the zone's name.

    It stays in UTC where the zone is beyond the first or last year that Python has.
    """
    tzinfo, name = zone(timezone)
    try:
        return instant.astimezone(tzinfo), name
    except OverflowError:
        return instant.astimezone(UTC), "UTC"


def _joined_pattern(locale: str) -> str:
    """Return how a long date and a time are joined: ``{1} 'at' {0}``, without the quotes."""
    return str(cldr(locale).datetime_formats["long"]).replace("'", "")


def _rounded(value: float) -> float:
    return round(value, 1) if value < DECIMALS_BELOW else float(round(value))
