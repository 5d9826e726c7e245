"""Mailed links: an export's name and a MAC of it, nothing stored."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from struct import Struct
from uuid import UUID

from app.errors import ExportNotFound
from app.models import Export

_NAME = Struct(">q16s")
_PURPOSE = b"audience-export link v1\0"
_TOKEN_BYTES = _NAME.size + sha256().digest_size


class Links:
    """Signs and reads the tokens of mailed links.

    ``secrets`` may hold several keys: the first signs, all are accepted, so
    that a key can be changed while its links still live. ``public_url`` is
    where people reach this service; without it there are no such links.
    """

    def __init__(self, secrets: Sequence[bytes], public_url: str | None) -> None:
        self._secrets = tuple(secrets)
        self._public_url = public_url

    @property
    def are_served(self) -> bool:
        """Whether mails carry our own links rather than presigned ones."""
        return self._public_url is not None

    def url(self, export: Export) -> str:
        """Return the link to an export's file, the same each time."""
        return f"{self._public_url}/d/{self.token(export.seller_id, export.id)}"

    def token(self, seller_id: int, export_id: UUID) -> str:
        """Return the signed name of an export: 75 URL-safe characters."""
        name = _NAME.pack(seller_id, export_id.bytes)
        mac = _mac(self._secrets[0], name)
        return urlsafe_b64encode(name + mac).rstrip(b"=").decode()

    def read(self, token: str) -> tuple[int, UUID]:
        """Return the seller and the export that ``token`` names.

        Expiry and revocation are not the token's but the export's own state.

        Raises:
            ExportNotFound: the token was not signed by any of our keys.
        """
        raw = _decoded(token)
        name, mac = raw[: _NAME.size], raw[_NAME.size :]
        matches = [hmac.compare_digest(_mac(secret, name), mac) for secret in self._secrets]
        if not any(matches):
            raise ExportNotFound("This link is not one of ours.")
        seller_id, export_id = _NAME.unpack(name)
        return seller_id, UUID(bytes=export_id)


def _mac(secret: bytes, name: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + name, sha256)


def _decoded(token: str) -> bytes:
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=")
        canonical = urlsafe_b64encode(raw).rstrip(b"=").decode() == token
    except ValueError:
        canonical = False
    if not canonical or len(raw) != _TOKEN_BYTES:
        raise ExportNotFound("This link is not one of ours.")
    return raw
