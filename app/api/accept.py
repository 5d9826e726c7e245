"""``Accept``: whether a request prefers a page to JSON (RFC 9110, section 12.5.1)."""

import re

JSON_TYPES = ("application/json", "application/problem+json")

WEIGHT = re.compile(r"[01](\.\d{0,3})?")


def prefers_html(accept: str) -> bool:
    """Return whether an ``Accept`` header prefers HTML to JSON, or equally.

    A header that names neither gets JSON.
    """
    weights = dict(map(_type_and_weight, accept.lower().split(",")))
    page = weights.get("text/html", 0.0)
    return page > 0 and page >= max(weights.get(kind, 0.0) for kind in JSON_TYPES)


def _type_and_weight(part: str) -> tuple[str, float]:
    kind, *parameters = (each.strip() for each in part.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    # float() alone also accepts "nan" and "inf".
    return kind, float(weight) if WEIGHT.fullmatch(weight) else 0.0
