"""The headings of the file's columns, in each language."""

from app.audience.sources import SOURCES
from app.i18n.catalogue import text
from app.i18n.locales import DEFAULT_LOCALE


def heading(column: str, locale: str = DEFAULT_LOCALE, timezone: str = "UTC") -> str:
    """Return the heading of a column: ``Email``, ``Subscribed At (Europe/Berlin)``.

    ``column`` is a key of ``available_columns``; a date's heading names its time zone. No heading
    holds a comma, semicolon, tab, quote or line break, so that CSV writes it as it is.
    """
    if column in ("email", "sources"):
        return text(locale, f"headings.{column}")
    return f"{_date_heading(column, locale)} ({timezone})"


def _date_heading(column: str, locale: str) -> str:
    for source in SOURCES:
        if source.since == column:
            return source.since_label_in(locale)
    return text(locale, f"headings.{column}")
