"""Cursors: opaque positions in a list, the base64url form of an id."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

CURSOR = "^[A-Za-z0-9_-]{21}[AQgw]$"
"""16 bytes in base64url (RFC 4648, section 5); the unused bits of the last character are zero."""


def encode_cursor(export_id: UUID) -> str:
    """Return the cursor of the page that begins after this export."""
    return urlsafe_b64encode(export_id.bytes).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> UUID:
    """Return the id in a cursor that matches ``CURSOR``."""
    return UUID(bytes=urlsafe_b64decode(cursor + "=="))
