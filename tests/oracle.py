"""The expected addresses, eligibility and members, in plain Python.

Written from the contract alone and without SQL, so that it can disagree with the service.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]
Members = dict[tuple[int, str], dict[str, datetime]]
"""The date of each source by its key, for each (seller, address)."""

UNKNOWN = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""What asyncpg writes as ``infinity`` and ``-infinity``."""

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\xad"
FORBIDDEN = set(WHITE_SPACE + '@()[],<>;:\\"')
STATES = ("successful", "gift_receiver_purchase_successful", "not_charged")


def address(email: str | None) -> str | None:
    """Return the normalised address, or ``None`` where it is invalid."""
    if email is None:
        return None
    normalised = unicodedata.normalize("NFC", email).strip(WHITE_SPACE + INVISIBLE).lower()
    local, at, domain = normalised.rpartition("@")
    if not at or len(normalised) > 255 or any(map(_is_unseen, normalised)):
        return None
    valid = (_is_dotted(local) or _is_quoted(local)) and (_is_name(domain) or _is_literal(domain))
    return normalised if valid else None


def _is_unseen(character: str) -> bool:
    """Return whether it is a control, format or line-separator character."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def _is_dotted(local: str) -> bool:
    return all(atom and not FORBIDDEN & set(atom) for atom in local.split("."))


def _is_quoted(local: str) -> bool:
    if len(local) < 2 or local[0] != '"' or local[-1] != '"':
        return False
    unescaped = re.sub(r"\\.", "", local[1:-1])
    return '"' not in unescaped and "\\" not in unescaped


def _is_name(domain: str) -> bool:
    *labels, top = domain.split(".")
    is_top = all(map(_is_letter, top)) or (top.startswith("xn--") and len(top) > 4)
    return bool(labels) and len(top) >= 2 and is_top and all(map(_is_label, [*labels, top]))


def _is_label(label: str) -> bool:
    return bool(label) and all(
        _is_letter(character) or unicodedata.category(character) == "Nd" or character == "-"
        for character in label
    )


def _is_letter(character: str) -> bool:
    """Whether it is a letter of any script, or a mark that is part of one."""
    return unicodedata.category(character)[0] in "LM"


def _is_literal(domain: str) -> bool:
    if not (domain.startswith("[") and domain.endswith("]")):
        return False
    octets = domain[1:-1].split(".")
    return len(octets) == 4 and all(
        re.fullmatch("[0-9]{1,3}", octet) and int(octet) <= 255 for octet in octets
    )


def follower_counts(row: Row) -> bool:
    """Whether a row of ``followers`` is a follower, its address apart."""
    return row.get("confirmed_at") is not None and row.get("deleted_at") is None


def purchase_counts(row: Row) -> bool:
    """Whether a row of ``purchases`` makes a customer, its address apart."""
    if not row.get("can_contact", True) or row.get("is_gift_sender", False):
        return False
    if row["state"] not in STATES:
        return False
    if row.get("subscription_id") is None:
        charged_back = row.get("chargeback_at") is not None
        return not row.get("refunded") and (
            not charged_back or row.get("chargeback_reversed", False)
        )
    return (
        row.get("is_original_subscription", False)
        and not row.get("is_archived_original", False)
        and row.get("subscription_deactivated_at") is None
        and not row.get("subscription_is_test", False)
    )


def affiliate_counts(row: Row) -> bool:
    """Whether a row of ``affiliates`` is an affiliate, its address apart."""
    return (
        row.get("kind", "direct") == "direct"
        and row.get("deleted_at") is None
        and row.get("send_posts", True)
        and row.get("product_count", 1) >= 1
    )


COUNTS: dict[str, tuple[str, Callable[[Row], bool]]] = {
    "followers": ("follower", follower_counts),
    "purchases": ("customer", purchase_counts),
    "affiliates": ("affiliate", affiliate_counts),
}


def calendar_date(date: datetime) -> datetime:
    """Return a date cut to the second, or ``UNKNOWN`` for one that is infinite."""
    return UNKNOWN if date in (UNKNOWN, LONG_AGO) else date.replace(microsecond=0)


def members(rows: Mapping[str, Iterable[Row]]) -> Members:
    """Return the members that rows of the source tables make, given by table.

    A column that a row lacks has its default. Dates are cut to the second; an unknown one is
    later than all others.
    """
    found: Members = {}
    for table, (key, counts) in COUNTS.items():
        for row in rows.get(table, ()):
            email = address(row.get("email"))
            if email is None or not counts(row):
                continue
            dates = found.setdefault((row["seller_id"], email), {})
            date = calendar_date(row["created_at"])
            dates[key] = min(date, dates.get(key, date))
    return found
