"""Redact a mail server's reply for the log: no address, credential or link, one short line."""

import re
from base64 import b64encode
from collections.abc import Iterable

LENGTH_MAX = 300
READ_MAX = 2000
"""A longer text is cut first: ``ADDRESS`` takes quadratic time."""

HIDDEN = "[…]"

ADDRESS = re.compile(
    r"(?:\"[^\"]*\"|[^\s<>()\[\]\"',;:]*)(?:@|%40|=40|\(at\))[^\s<>()\"',;]*", re.IGNORECASE
)
TOKEN = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}|[A-Za-z0-9+/]{8,}={1,2}")
"""The token of a mailed link, the signature of a presigned URL, Base64 credentials of AUTH."""


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's reply as one line of at most ``LENGTH_MAX`` characters.

    ``secrets`` are hidden: addresses, with their local parts alone too, and credentials, also in
    Base64. So is every other address, and every long token, since a server may quote the content.
    """
    shown = "".join(each if each.isprintable() else " " for each in text[:READ_MAX])
    if len(text) > READ_MAX:
        shown = shown.rpartition(" ")[0]  # a secret cut in half would not be recognised
    # The longest first: replacing a part of another secret would leave the rest readable.
    for secret in sorted(_forms(secrets), key=len, reverse=True):
        shown = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, shown, flags=re.IGNORECASE)
    shown = " ".join(TOKEN.sub(HIDDEN, ADDRESS.sub(HIDDEN, shown)).split())
    return shown if len(shown) <= LENGTH_MAX else f"{shown[: LENGTH_MAX - 1]}…"


def _forms(secrets: Iterable[str]) -> set[str]:
    forms = set(secrets)
    forms |= {each.rpartition("@")[0] for each in forms if "@" in each}
    forms |= {b64encode(each.encode()).decode() for each in forms}
    # The empty string would match between any two characters that are not of a word.
    return forms - {""}
