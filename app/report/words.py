"""Figures as people read them."""

from collections.abc import Sequence
from datetime import date

from app.audience.sources import SOURCES_BY_KEY

NOTHING = "–"

TENTH_S = 0.1
MINUTE_S = 60
HOUR_S = 3600

LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float | None) -> str:
    """Return a duration with two or three digits: ``34 ms``, ``0.34 s``, ``4.2 min``."""
    if seconds is None:
        return NOTHING
    if seconds < TENTH_S:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE_S:
        return f"{digits(seconds)} s"
    if seconds < HOUR_S:
        return f"{digits(seconds / MINUTE_S)} min"
    return f"{digits(seconds / HOUR_S)} h"


def size(number: int) -> str:
    """Return a number of bytes: ``52 kB``, ``1.3 GB``."""
    return f"{short(number)}B" if number >= LARGE[-1][0] else f"{number} B"


def short(number: int) -> str:
    """Return a large number in few digits: ``999``, ``12.3 k``, ``4.1 M``."""
    for unit, prefix in LARGE:
        if number >= unit:
            return f"{digits(number / unit)} {prefix}"
    return str(number)


def percent(share: float) -> str:
    """Return a share in per cent: ``0 %``, ``0.4 %``, ``12 %``."""
    return "0 %" if share == 0 else f"{digits(share * 100)} %"


def day(value: date) -> str:
    """Return a day without its year: ``22 Nov``."""
    return f"{value:%-d %b}"


def span(first: date, last: date) -> str:
    """Return some days: ``22 November 2026``, or the first and the last of them."""
    end = f"{last:%-d %B %Y}"
    if first == last:
        return end
    return f"{first:%-d %B}{'' if first.year == last.year else f' {first.year}'} – {end}"


def sources(keys: Sequence[str]) -> str:
    """Return the sources' labels: ``Followers + Customers``."""
    labels = (SOURCES_BY_KEY[key].label if key in SOURCES_BY_KEY else key for key in keys)
    return " + ".join(labels)


def digits(number: float) -> str:
    """Return a number with two digits at least, none of them an idle zero."""
    places = 2 if number < 1 else 1 if number < 10 else 0
    text = f"{number:,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text
