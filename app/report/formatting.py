"""Format durations, sizes, numbers and dates for the page and the terminal."""

from collections.abc import Sequence
from datetime import date

from app.audience.sources import label_of

NO_VALUE = "–"

TENTH_S = 0.1
MINUTE_S = 60
HOUR_S = 3600
MILLION = 1_000_000

LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float | None) -> str:
    """Return a duration with two or three digits: ``34 ms``, ``0.34 s``; a dash for ``None``."""
    if seconds is None:
        return NO_VALUE
    if seconds < TENTH_S:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE_S:
        return f"{two_digits(seconds)} s"
    if seconds < HOUR_S:
        return f"{two_digits(seconds / MINUTE_S)} min"
    return f"{two_digits(seconds / HOUR_S)} h"


def size(number: int) -> str:
    """Return a number of bytes: ``52 kB``, ``1.3 GB``."""
    return f"{abbreviate(number)}B" if number >= LARGE[-1][0] else f"{number} B"


def figure(number: int) -> str:
    """Return a number as a figure that is read at a glance: ``123,456``, and ``1.2 M`` above."""
    return f"{number:,}" if number < MILLION else abbreviate(number)


def abbreviate(number: int) -> str:
    """Return a large number in few digits: ``999``, ``12.3 k``, ``4.1 M``."""
    for unit, prefix in LARGE:
        if number >= unit:
            return f"{two_digits(number / unit)} {prefix}"
    return str(number)


def percent(share: float) -> str:
    """Return a share in per cent: ``0 %``, ``0.4 %``, ``12 %``."""
    return "0 %" if share == 0 else f"{two_digits(share * 100)} %"


def change(now: float | None, before: float | None) -> str:
    """Return a relative change: ``+12 %``, ``-3.4 %``, ``±0 %``; a dash where there is none.

    There is none from nothing, or where a figure is missing.
    """
    if now is None or not before:
        return NO_VALUE
    return f"{_signed(100 * (now / before - 1))} %"


def points(now: float, before: float) -> str:
    """Return the change of a share in percentage points: ``+0.4 pp``."""
    return f"{_signed(100 * (now - before))} pp"


def day(value: date) -> str:
    """Return a day without its year: ``22 Nov``."""
    return f"{value:%-d %b}"


def span(first: date, last: date) -> str:
    """Return a range of days: ``22 November 2026``, or its first and last day."""
    end = f"{last:%-d %B %Y}"
    if first == last:
        return end
    return f"{first:%-d %B}{'' if first.year == last.year else f' {first.year}'} – {end}"


def sources(keys: Sequence[str]) -> str:
    """Return the sources' labels: ``Followers + Customers``."""
    return " + ".join(map(label_of, keys))


def _signed(number: float) -> str:
    digits = two_digits(abs(number))
    # By the digits: a change that is rounded to 0 has no direction.
    sign = "±" if digits == "0" else "+" if number > 0 else "−"
    return sign + digits


def two_digits(number: float) -> str:
    """Return a number with at least two significant digits, without trailing zeros."""
    places = 2 if number < 1 else 1 if number < 10 else 0
    text = f"{number:,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text
