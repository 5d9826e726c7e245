"""What must come out, in plain Python: addresses, eligibility, members.

Written from the contract alone and without SQL, so that it can disagree.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
Members = dict[tuple[int, str], dict[str, datetime]]
"""The date of each source by its key, for each (seller, address)."""

WHITE_SPACE = " \t\n\v\f\r"
FORBIDDEN = set(WHITE_SPACE + '@()[],<>;:\\"')
STATES = ("successful", "gift_receiver_purchase_successful", "not_charged")


def address(email: str | None) -> str | None:
    """Return the normalised address, or ``None`` where it is invalid."""
    if email is None:
        return None
    normalised = email.strip(WHITE_SPACE).lower()
    local, at, domain = normalised.rpartition("@")
    if not at or len(normalised) > 255:
        return None
    valid = (_is_dotted(local) or _is_quoted(local)) and (_is_name(domain) or _is_literal(domain))
    return normalised if valid else None


def _is_dotted(local: str) -> bool:
    return all(atom and not FORBIDDEN & set(atom) for atom in local.split("."))


def _is_quoted(local: str) -> bool:
    if len(local) < 2 or local[0] != '"' or local[-1] != '"':
        return False
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in local):
        return False
    unescaped = re.sub(r"\\.", "", local[1:-1])
    return '"' not in unescaped and "\\" not in unescaped


def _is_name(domain: str) -> bool:
    *labels, top = domain.split(".")
    letters = set("abcdefghijklmnopqrstuvwxyz")
    allowed = letters | set("0123456789-")
    return (
        bool(labels)
        and all(label and set(label) <= allowed for label in labels)
        and len(top) >= 2
        and set(top) <= letters
    )


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


def members(rows: Mapping[str, Iterable[Row]]) -> Members:
    """Return the members that rows of the source tables make, given by table.

    A column that a row lacks has its default. Dates are cut to the second.
    """
    found: Members = {}
    for table, (key, counts) in COUNTS.items():
        for row in rows.get(table, ()):
            email = address(row.get("email"))
            if email is None or not counts(row):
                continue
            dates = found.setdefault((row["seller_id"], email), {})
            date = row["created_at"].replace(microsecond=0)
            dates[key] = min(date, dates.get(key, date))
    return found
