"""The boundaries of a period as callers write them: a date, or an instant (RFC 3339)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

# Not \d, which matches the digits of every script, and int() reads those too.
DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")

INSTANT = re.compile(
    DATE.pattern + r"[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)

LEAP_SECOND = 60
MICROSECOND_DIGITS = 6

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def parse_boundary(text: str) -> datetime | date | None:
    """Return an instant, aware UTC, or a date; ``None`` where the text is neither.

    Digits beyond the microsecond round up, which no date of a member notices: they are whole
    seconds. An instant outside the years 1 to 9999 in UTC is the nearest one inside.
    """
    try:
        if found := DATE.fullmatch(text):
            return date(*map(int, found.groups()))
        if found := INSTANT.fullmatch(text):
            return _instant(found)
    except ValueError:
        pass
    return None


def _instant(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    is_leap = second == LEAP_SECOND
    local = datetime(
        year, month, day, hour, minute, second - is_leap, tzinfo=_offset(*found.groups()[7:])
    )
    try:
        instant = local.astimezone(UTC)
        if is_leap and (instant.hour, instant.minute) != (23, 59):
            raise ValueError("a leap second is the last of a day in UTC")
        # Added, since microseconds that were rounded up may be a full second.
        return instant + timedelta(seconds=is_leap, microseconds=_microseconds(found[7] or ""))
    except OverflowError:
        return EARLIEST if year == EARLIEST.year else LATEST


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> timezone:
    if sign is None or hours is None or minutes is None:
        return UTC
    if int(minutes) >= 60:
        raise ValueError("an hour has sixty minutes")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)


def _microseconds(fraction: str) -> int:
    digits = fraction.ljust(MICROSECOND_DIGITS, "0")
    beyond = digits[MICROSECOND_DIGITS:].strip("0")
    return int(digits[:MICROSECOND_DIGITS]) + bool(beyond)
