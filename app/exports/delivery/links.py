"""Links that download an export's file without a token: mailed links and presigned URLs.

A mailed link is the export's key and a MAC of it; nothing is stored. It lives as long as the file,
and the export's state decides whether it opens. A presigned URL leads to the store and cannot be
revoked, so it is used for mails only where ``PUBLIC_URL`` is not set.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from struct import Struct
from typing import Self
from uuid import UUID

from app.errors import ExportNotFound
from app.models import Export, ExportKey
from app.ports import ObjectStorage

_KEY = Struct(">q16s")
# Another purpose or layout of the key invalidates every link that was mailed. The purpose separates
# these MACs from others that are made with the same secret.
_PURPOSE = b"audience-export link v1\0"
_TOKEN_BYTES = _KEY.size + sha256().digest_size


class LinkSigner:
    """Signs and verifies the tokens of mailed links.

    ``secrets`` may hold several keys: the first signs, all are accepted, so
    that a key can be changed while its links still live. ``public_url`` is
    where people reach this service; without it there are no such links.
    """

    def __init__(self, secrets: Sequence[bytes], public_url: str | None) -> None:
        self._secrets = tuple(secrets)
        self._public_url = public_url

    @property
    def enabled(self) -> bool:
        """Whether mails carry our own links rather than presigned ones."""
        return self._public_url is not None

    def url(self, export: Export) -> str:
        """Return the link to an export's file, the same each time."""
        return f"{self._public_url}/d/{self.token(export.key)}"

    def token(self, key: ExportKey) -> str:
        """Return the signed key of an export: 75 URL-safe characters."""
        packed = _KEY.pack(key.seller_id, key.id.bytes)
        mac = _mac(self._secrets[0], packed)
        return urlsafe_b64encode(packed + mac).rstrip(b"=").decode()

    def verify(self, token: str) -> ExportKey:
        """Return the export that ``token`` names.

        Expiry and revocation are not the token's but the export's own state.

        Raises:
            ExportNotFound: the token was not signed by any of our keys.
        """
        raw = _decoded(token)
        packed, mac = raw[: _KEY.size], raw[_KEY.size :]
        # A list, not a generator: the time must not tell which secret signed.
        matches = [hmac.compare_digest(_mac(secret, packed), mac) for secret in self._secrets]
        if not any(matches):
            raise ExportNotFound("This link is not one of ours.")
        seller_id, export_id = _KEY.unpack(packed)
        return ExportKey(seller_id, UUID(bytes=export_id))


@dataclass(frozen=True)
class StoredFile:
    """The file of an export in the store: its object's key, and the name it is saved under."""

    object_key: str
    name: str
    expires_at: datetime

    @classmethod
    def of(cls, export: Export) -> Self | None:
        """Return the file of an export, expired or not; ``None`` where it has none."""
        if export.object_key is None or export.file_name is None or export.expires_at is None:
            return None
        return cls(export.object_key, export.file_name, export.expires_at)

    async def presigned_url(self, storage: ObjectStorage, lifetime_max_s: int) -> str:
        """Return an address that opens until the file expires, ``lifetime_max_s`` at most."""
        left_s = int((self.expires_at - datetime.now(UTC)).total_seconds())
        # The database found the file alive, and its clock may be behind ours.
        lifetime_s = max(1, min(left_s, lifetime_max_s))
        return await storage.presigned_url(self.object_key, self.name, lifetime_s)


async def download_link(
    signer: LinkSigner, storage: ObjectStorage, export: Export, presigned_max_s: int
) -> str | None:
    """Return the address to hand out for an export's file; ``None`` where there is no file.

    It is a mailed link where there are any, else a presigned URL for ``presigned_max_s`` at most.
    """
    file = StoredFile.of(export)
    if file is None:
        return None
    return (
        signer.url(export) if signer.enabled else await file.presigned_url(storage, presigned_max_s)
    )


def _mac(secret: bytes, packed: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + packed, sha256)


def _decoded(token: str) -> bytes:
    """Return a token's bytes; only the one spelling that :meth:`LinkSigner.token` makes is valid.

    Base64 ignores the last character's unused bits: four spellings would open the same file.
    """
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=")
        canonical = urlsafe_b64encode(raw).rstrip(b"=").decode() == token
    except ValueError:
        canonical = False
    if not canonical or len(raw) != _TOKEN_BYTES:
        raise ExportNotFound("This link is not one of ours.")
    return raw
