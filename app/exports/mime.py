"""Messages of two texts, made cheaply: what is alike in all of them is parsed once."""

from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import default
from functools import cache, lru_cache
from typing import Any

LINE_MAX = 998
REMEMBERED = 64

BOUNDARY = "=_audience-export_="
"""In no text of ours; and quoted-printable (RFC 2045, 6.7) has no ``=`` before ``_``."""


class Headers(HeaderRegistry):
    """Parses header fields as ever, and remembers the classes and the latest texts.

    The standard library makes a class for each field of each message, and
    parses with care: two thirds of the time that a message takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._class_of = cache(super().__getitem__)
        self._parsed = lru_cache(REMEMBERED)(super().__call__)

    def __getitem__(self, name: str) -> Any:
        """Return the class of the fields of a name."""
        return self._class_of(name)

    def __call__(self, name: str, value: Any) -> Any:
        """Return a field; an address, which has no hash, is not looked up."""
        if isinstance(value, str):
            return self._parsed(name, value)
        return super().__call__(name, value)


POLICY = default.clone(header_factory=Headers())


def empty_message() -> EmailMessage:
    """Return a message without header and content."""
    return EmailMessage(policy=POLICY)


def set_texts(message: EmailMessage, plain: str, html: str) -> None:
    """Give a message its content, the same in plain text and in HTML."""
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = f'multipart/alternative; boundary="{BOUNDARY}"'
    for text, subtype in ((plain, "plain"), (html, "html")):
        message.attach(_part(text, subtype))


def _part(text: str, subtype: str) -> EmailMessage:
    """Leave ASCII as it is, so that a link is never broken over two lines (RFC 5322: 998)."""
    part = empty_message()
    if text.isascii() and all(len(line) <= LINE_MAX for line in text.splitlines()):
        part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
        part["Content-Transfer-Encoding"] = "7bit"
        part.set_payload(text)
    else:
        part.set_content(text, subtype=subtype, cte="quoted-printable")
    return part
